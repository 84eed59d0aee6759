#!/usr/bin/env bash
# Pack environment and code into an archive for clusters whose nodes have neither (YARN).
# The nodes need the same Python at the same path as here, and Java.
#
# usage: bash scripts/pack_environment.sh [FILE]        [runs/environment.tar.gz]
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
archive="${1:-$root/runs/environment.tar.gz}"

bash "$root/scripts/setup.sh"
python="$(basename "$(echo "$root"/.venv/lib/python3.*)")"
packages="lib/$python/site-packages"
mkdir -p "$(dirname "$archive")"
# Under another name until it is whole: submit.sh sends whatever bears the name.
tar --create --gzip --file="$archive.part" \
    --exclude=./spark-classes.jsa --exclude=./hadoop --exclude=__pycache__ \
    --transform="s,^\(jobs\|lenet\|srgan\)/,$packages/&," \
    --directory="$root/.venv" . \
    --directory="$root" jobs lenet srgan conf/log4j2.properties
mv "$archive.part" "$archive"
echo "$archive: $(du -h "$archive" | cut -f1)"
