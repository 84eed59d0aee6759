#!/usr/bin/env bash
# Set up the environment and run every test.
#
# usage: bash scripts/test.sh [options of pytest]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh test
# shellcheck disable=SC1091
source .venv/bin/activate
python scripts/fetch_data.py mnist
exec python -m pytest -n 2 --dist loadfile --no-loadscope-reorder "$@"
