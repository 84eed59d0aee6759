#!/usr/bin/env bash
# From a fresh clone to a trained and tested LeNet5, on this machine's cores.
#
# usage: bash scripts/quickstart.sh [options of jobs/train_lenet.py]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/setup.sh
# shellcheck disable=SC1091
source .venv/bin/activate
python scripts/fetch_data.py mnist

run="runs/quickstart/$(date +%Y%m%d-%H%M%S)"
spark-submit --properties-file conf/local.conf jobs/train_lenet.py \
    --config conf/lenet.toml --data data/mnist --run-dir "$run/train_lenet" "$@"
spark-submit --properties-file conf/local.conf jobs/evaluate_lenet.py \
    --model "$run/train_lenet" --data data/mnist --run-dir "$run/evaluate_lenet"
