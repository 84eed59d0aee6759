# shellcheck shell=bash
# What Spark and BigDL need of machines that lack it. Sourced by .venv/bin/activate.

# In cron's locale a JVM loses all letters of file names but the English ones.
case "${LC_ALL:-${LC_CTYPE:-${LANG:-}}}" in
    *[Uu][Tt][Ff]*) ;;
    *) export LC_ALL=C.UTF-8 ;;
esac

# A JVM would use /tmp.
if [ -d "${TMPDIR:-}" ] && [ -w "$TMPDIR" ]; then
    export SPARK_SUBMIT_OPTS="${SPARK_SUBMIT_OPTS:-} -Djava.io.tmpdir=\"$TMPDIR\""
fi

# Neither starts on a machine whose own name leads nowhere.
if ! getent ahosts "$(uname -n)" >/dev/null 2>&1; then
    export SPARK_LOCAL_HOSTNAME=localhost
    if { cat /etc/hosts && echo "127.0.0.1 localhost $(uname -n)"; } >"$VIRTUAL_ENV/hosts"; then
        export SPARK_SUBMIT_OPTS="${SPARK_SUBMIT_OPTS:-} -Djdk.net.hosts.file=\"$VIRTUAL_ENV/hosts\""
    fi
fi 2>/dev/null

# BigDL's MKL takes its slowest way on AMD's processors, unless it is told to use AVX2 (5) or
# AVX-512 (7).
if grep -qs '^vendor_id.*AuthenticAMD' /proc/cpuinfo; then
    if grep -qsw avx512vl /proc/cpuinfo; then
        export MKL_DEBUG_CPU_TYPE=7
    elif grep -qsw avx2 /proc/cpuinfo; then
        export MKL_DEBUG_CPU_TYPE=5
    fi
fi

# For the driver, which is the executor of local[*]: code is compiled after a third of the calls,
# and garbage, of which BigDL makes much that lives briefly, is collected by all cores at once.
export SPARK_SUBMIT_OPTS="${SPARK_SUBMIT_OPTS:-} -XX:+UseParallelGC -XX:CompileThresholdScaling=0.3"
