# shellcheck shell=bash disable=SC2154
# Part of scripts/setup.sh: what .venv/bin/activate sets, and a training that tries it all.
# Reads root, venv, log, java_home.

# A value may hold blanks, quotes and letters of any alphabet.
at_activation() { printf 'export %s=%q # by scripts/setup.sh\n' "$@" >>"$venv/bin/activate"; }

option_word() { local word="${1//\\/\\\\}" && printf '"%s"' "${word//\"/\\\"}"; }

# Other Javas, Sparks and Pythons of the machine must not get between: spark-submit prefers them.
write_activation() {
    local packages
    packages="$(echo "$venv"/lib/python3.*/site-packages)"
    echo "$root" >"$packages/checkout.pth"
    # Empty: the JVM shares no classes if a folder on its path holds files.
    mkdir -p "$venv/spark-conf"
    sed -i '/# by scripts\/setup.sh$/d' "$venv/bin/activate"
    log4j="-Dlog4j2.configurationFile=$(option_word "file://$root/conf/log4j2.properties")"
    at_activation JAVA_HOME "$java_home"
    at_activation SPARK_HOME "$packages/pyspark"
    at_activation SPARK_CONF_DIR "$venv/spark-conf"
    at_activation SPARK_SUBMIT_OPTS "$log4j"
    at_activation PYSPARK_PYTHON "$venv/bin/python"
    printf '. %q # by scripts/setup.sh\n' "$root/scripts/environment.sh" >>"$venv/bin/activate"
}

# With Spark's classes parsed and verified beforehand, every job starts two seconds sooner.
try_it() {
    local archive="$venv/spark-classes.jsa" shared=""
    [[ " $JAVAS_THAT_STORE_CLASSES " != *" $(java_version "$java_home/bin/java") "* ]] || shared=1
    echo "setup: trying it, and preparing Spark for a quick start ..."
    rm -f "$archive"
    # shellcheck disable=SC1091
    (source "$venv/bin/activate" && python scripts/try_environment.py ${shared:+"$archive"}) \
        >>"$log" 2>&1 || fail "what was set up does not run: $(last_words "$log"); see $log"
    [[ -f "$archive" ]] || return 0
    sed -i '/^export SPARK_SUBMIT_OPTS=.*# by scripts\/setup.sh$/d' "$venv/bin/activate"
    sed -i '/environment.sh.*# by scripts\/setup.sh$/d' "$venv/bin/activate"
    at_activation SPARK_SUBMIT_OPTS "-XX:SharedArchiveFile=$(option_word "$archive") -Xlog:cds=off $log4j"
    printf '. %q # by scripts/setup.sh\n' "$root/scripts/environment.sh" >>"$venv/bin/activate"
}
