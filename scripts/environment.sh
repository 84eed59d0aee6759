# shellcheck shell=sh disable=SC2089,SC2090,SC3045,SC3067
# What Spark and BigDL need of machines that lack it, and what other installations must not bring
# in. Sourced by .venv/bin/activate, in any shell.

# Either may have gone since, or lie in a home that only its owner may enter.
_lost=""
"$PYSPARK_PYTHON" -I -c "" 2>/dev/null || _lost="Python, $(readlink -m "$PYSPARK_PYTHON")"
[ -x "$JAVA_HOME/bin/java" ] || _lost="${_lost:-Java, $JAVA_HOME}"
if [ -n "$_lost" ]; then
    echo "error: the environment's $_lost, is gone or not for $(id -un 2>/dev/null) to run; make it" \
        "anew, with PYTHON=... or JAVA_HOME=... where that is to be another:" \
        "bash ${VIRTUAL_ENV%/.venv}/scripts/setup.sh" >&2
    unset _lost
    return 69
fi
unset _lost

# Of all that Spark and Python read from variables, only what was chosen for this environment
# counts, and what a person chooses for a command of ours.
for _name in $(env | sed -n 's/^\(SPARK_[A-Z0-9_]*\|PYSPARK_[A-Z0-9_]*\|PYTHON[A-Z]*\)=.*/\1/p'); do
    case "$_name" in
        SPARK_HOME | SPARK_CONF_DIR | SPARK_SUBMIT_OPTS | PYSPARK_PYTHON) ;; # .venv/bin/activate's
        SPARK_CLUSTER_FOLDER | SPARK_SSH_OPTS | SPARK_LOCAL_DIRS | SPARK_LOCAL_IP) ;;
        PYTHONUNBUFFERED | PYTHONWARNINGS | PYTHONDONTWRITEBYTECODE | PYTHONPYCACHEPREFIX) ;;
        PYTHONFAULTHANDLER | PYTHONDEVMODE | PYTHONHASHSEED) ;;
        *) unset "$_name" ;;
    esac
done
unset _name

# In a locale that is cron's, or not installed, a JVM loses all letters of file names but the
# English ones.
[ "$(locale charmap 2>/dev/null)" = UTF-8 ] || export LC_ALL=C.UTF-8

# Spark's scripts ask it, and complain where it is missing.
if [ -n "${BASH_VERSION:-}" ] && ! command -v ps >/dev/null; then
    ps() { :; }
    export -f ps
fi

# A folder for what belongs neither into the environment, which others may have made, nor into a
# home, which cron's users may lack. Nobody else can have put anything there.
_own_folder() {
    _folder="${TMPDIR:-/tmp}/spark-jobs-$(id -u)"
    mkdir -m 700 "$_folder" 2>/dev/null
    [ -O "$_folder" ] && [ ! -L "$_folder" ] && [ -d "$_folder" ]
}

# A JVM would use /tmp.
if [ -d "${TMPDIR:-}" ] && [ -w "$TMPDIR" ]; then
    export SPARK_SUBMIT_OPTS="${SPARK_SUBMIT_OPTS:-} -Djava.io.tmpdir=\"$TMPDIR\""
fi

# Neither starts on a machine whose own name leads nowhere.
if ! getent ahosts "$(uname -n)" >/dev/null 2>&1; then
    export SPARK_LOCAL_HOSTNAME=localhost
    if _own_folder && { cat /etc/hosts && echo "127.0.0.1 localhost $(uname -n)"; } >"$_folder/hosts"; then
        export SPARK_SUBMIT_OPTS="${SPARK_SUBMIT_OPTS:-} -Djdk.net.hosts.file=\"$_folder/hosts\""
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

# matplotlib keeps what it knows of fonts in the home, and speaks of it where it cannot.
if [ -z "${MPLCONFIGDIR:-}" ] && [ ! -w "${HOME:-/nowhere}" ] && _own_folder; then
    export MPLCONFIGDIR="$_folder"
fi
unset -f _own_folder
unset _folder

# Spark's JVM opens each of its 300 jars; where it cannot, all that it prints is traces.
_files="$(ulimit -Hn)"
if [ "$_files" != unlimited ] && [ "$_files" -lt 512 ]; then
    echo "error: only $_files files may be open at a time, Spark needs 512: ulimit -n 512, or" \
        "nofile in /etc/security/limits.conf" >&2
    unset _files
    return 69
fi
unset _files
