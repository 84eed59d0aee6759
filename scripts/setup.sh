#!/usr/bin/env bash
# Set up the environment in .venv: a Python where none fits, the packages of conf/locked, a Java
# runtime where none fits; then a small training to try them. Does nothing when it is up to date,
# and mends what it finds broken off, moved, or robbed of its Python or Java.
#
# usage: bash scripts/setup.sh [test]     test: the packages that the tests need, too
# environment:
#   PYTHON=/path/to/python3.11  the Python to use, instead of the first one that fits
#   PYTORCH=cpu|cuda            the build of PyTorch [cuda where there is an NVIDIA device]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
cd -P "$(dirname "${BASH_SOURCE[0]}")/.."

root="$PWD"
extras="${1:-}"
venv="$root/.venv"
stamp="$venv/setup.stamp"
log="$venv/setup.log"
unfinished="$venv/unfinished"

fail() {
    echo "setup: error: $*" >&2
    exit 69
}

last_words() { # of the log "$1": the last error of pip or uv with its deepest cause, or the last line
    local words
    words="$(grep -E '^(error|ERROR)\b|^ +cause:|^ +× ' "$1" | tail -n 1 | sed -E 's/^ *(error|ERROR|cause|×):? *//')"
    [[ -n "$words" ]] || words="$(grep -v '^ *$' "$1" | tail -n 1)"
    echo "${words:-it said nothing}"
}

[[ -z "$extras" || "$extras" == test ]] || fail "unknown word '$extras'; there is: setup.sh [test]"
# Of another installation, or of this one when it is activated.
unset PYTHONPATH PYTHONHOME PYTHONSAFEPATH PYTHONSTARTUP PYTHONDONTWRITEBYTECODE VIRTUAL_ENV
unset UV_TORCH_BACKEND UV_REQUIRE_HASHES
PATH=":$PATH:" && PATH="${PATH//:"$venv/bin":/:}" && PATH="${PATH#:}" && export PATH="${PATH%:}"
# shellcheck source-path=SCRIPTDIR
{
    source conf/versions
    source scripts/setting_up/python.sh
    source scripts/setting_up/packages.sh
    source scripts/setting_up/java.sh
    source scripts/setting_up/activation.sh
}

installed() { # a word that changes with what is installed
    (cd "$venv"/lib/python3.*/site-packages 2>/dev/null && LC_ALL=C ls -I __pycache__) | cksum
}

is_whole() {
    local have have_extras have_pytorch have_java have_installed
    [[ -f "$stamp" && ! -e "$unfinished" ]] || return
    { read -r have have_extras have_pytorch && read -r have_java && read -r have_installed; } \
        <"$stamp" || return
    [[ "$have" == "$wanted" && "$have_installed" == "$(installed)" && -x "$have_java/bin/java" ]] &&
        [[ -z "$extras" || "$have_extras" == "$extras" ]] &&
        [[ -z "${PYTORCH:-}" || "$have_pytorch" == "$PYTORCH" ]] && has_right_python
}

has_right_python() {
    fits "$venv/bin/python" && [[ -z "${PYTHON:-}" ||
        "$(base_python "$PYTHON")" == "$(base_python "$venv/bin/python")" ]]
}

belongs_here() { [[ "$(cat "$venv/checkout" 2>/dev/null)" == "$root" ]]; }

empty() { # all but what is as good anywhere, and was long to fetch
    find "$venv/" -mindepth 1 -maxdepth 1 ! -name uv ! -name python ! -name hadoop \
        -exec rm -rf {} +
}

wanted="$( (pwd; cat conf/versions conf/locked/*.txt scripts/setup.sh scripts/setting_up/*) |
    sha256sum | cut -c1-64)"
! is_whole || exit 0

[[ "$(uname -sm)" == "Linux x86_64" ]] || fail "BigDL, which trains LeNet, comes for Linux on" \
    "x86-64 alone; on $(uname -sm) see docs/SETUP.md for SRGAN, upscaling and the MOS test"
if [[ -L "$venv" ]] && ! belongs_here && [[ "$(cat "$venv/checkout" 2>/dev/null)/.venv" -ef "$venv" ]]; then
    fail "$venv leads to the environment of $(<"$venv/checkout"); delete that link, then run this again"
fi
find_python
began=$SECONDS
mkdir -p "$venv" 2>/dev/null && [[ -w "$venv" ]] || fail "$venv cannot be written by $(id -un)"
choose_pytorch
if [[ -e "$unfinished" ]] || ! has_right_python || ! belongs_here || ! has_pytorch; then
    empty
fi
rm -f "$stamp"
: >"$log"
: >"$unfinished"
# uv brings certificates of its own; those of the machine may have some of a company's beside them.
if [[ -s /etc/ssl/certs/ca-certificates.crt || -s /etc/pki/tls/certs/ca-bundle.crt ]]; then
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
fi
# Without a home, uv has no place of its own for what it downloads.
[[ -w "${HOME:-}" ]] || export UV_CACHE_DIR="$venv/uv/cache"
find_uv
[[ -n "$python" || -x "$venv/bin/python" ]] || fetch_python
if [[ ! -x "$venv/bin/python" ]]; then
    "$python" -I -m venv --without-pip "$venv" >>"$log" 2>&1 ||
        fail "$python could not make an environment: $(last_words "$log"); see $log"
fi
echo "$root" >"$venv/checkout"
settings="$("$venv/bin/python" -I scripts/setting_up/uv_settings.py)" && eval "$settings"
install_packages
find_java
write_activation
try_it
{
    echo "$wanted ${extras:--} $pytorch"
    echo "$java_home"
    installed
} >"$stamp"
rm "$unfinished"
echo "setup: done in $((SECONDS - began)) s; .venv has $(du -sh "$venv" | cut -f1)"
