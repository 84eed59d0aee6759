# shellcheck shell=bash disable=SC2153,SC2154
# Part of scripts/setup.sh: a Python for .venv, and uv, which installs the packages.
# Sets python and uv; reads PYTHON, PYTHONS, venv, log.

python_version() { # such as 3.11, of the python command "$1"; fails if it does not run
    "$1" -I -c 'import sys, venv; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

base_python() { # the one that the environment of the python command "$1" was made with, or itself
    "$1" -I -c 'import os, sys; print(os.path.realpath(sys._base_executable))' 2>/dev/null
}

fits() {
    local version
    version="$(python_version "$1")" && [[ " $PYTHONS " == *" $version "* ]]
}

find_python() { # none is found: python stays empty
    local candidate
    python=""
    if [[ -n "${PYTHON:-}" ]]; then
        fits "$PYTHON" || fail "PYTHON=$PYTHON is $(what_it_is "$PYTHON"), not Python" \
            "${PYTHONS// /, }; name another, or none"
        python="$PYTHON"
        return
    fi
    for candidate in ${PYTHONS// / python} python3; do
        candidate="python${candidate#python}"
        if fits "$candidate"; then
            python="$candidate"
            return
        fi
    done
}

what_it_is() {
    local version
    version="$(python_version "$1")" && echo "Python $version" || echo "no Python that runs"
}

# uv as pinned where a pip of any Python 3 can bring it, else the machine's own.
find_uv() {
    local any pip tried=""
    uv="$venv/uv/bin/uv"
    [[ ! -x "$uv" ]] || return 0
    for any in "$python" python3; do
        pip=("$any" -I -m pip)
        if ! "${pip[@]}" --version >/dev/null 2>&1; then
            "$any" -I -c "import ensurepip, venv" 2>/dev/null || continue
            "$any" -I -m venv "$venv/uv/pip" >>"$log" 2>&1 || continue
            pip=("$venv/uv/pip/bin/python" -m pip)
        fi
        tried=1
        "${pip[@]}" --disable-pip-version-check --retries 2 --timeout 20 install --quiet --no-deps \
            --target "$venv/uv" --requirement conf/locked/uv.txt >>"$log" 2>&1 || true
        [[ ! -x "$uv" ]] || return 0
    done
    uv="$(command -v uv)" && return
    [[ -z "$tried" ]] || fail "could not fetch uv, which installs the packages:" \
        "$(last_words "$log"); see $log"
    fail "nothing here can install packages: neither uv nor pip nor Python's venv module;" \
        "install one of them (apt-get install python3-venv), then run this again"
}

# Inside of .venv, so that scripts/cluster.sh sync brings it along.
fetch_python() {
    local version="${PYTHONS%% *}"
    echo "setup: no Python ${PYTHONS// /, } here; fetching $version (about 35 MB) ..."
    export UV_PYTHON_INSTALL_DIR="$venv/python"
    "$uv" python install --no-bin "$version" >>"$log" 2>&1 ||
        fail "no Python ${PYTHONS// /, } here, and uv could not fetch one: $(last_words "$log");" \
            "install one, or name it with PYTHON=...; see $log"
    python="$("$uv" python find --managed-python "$version")"
}
