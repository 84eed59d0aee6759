#!/usr/bin/env bash
# From a fresh clone to a trained and tested LeNet5, to a small super-resolution network that beats
# bicubic on pictures it has not seen, and to the same pictures by the model `photo` that comes along;
# on this machine's GPU, if it has one, and cores.
#
# usage: bash scripts/quickstart.sh [options of jobs/train_lenet.py]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Read as a whole before anything of it runs: a `git pull` meanwhile would change it under bash.
main() {
    bash scripts/setup.sh
    # shellcheck disable=SC1091
    source .venv/bin/activate
    python scripts/fetch_data.py mnist
    python scripts/fetch_data.py sample

    run="runs/quickstart/$(date +%Y%m%d-%H%M%S)"
    spark-submit --properties-file conf/local.conf jobs/train_lenet.py \
        --config conf/lenet.toml --data data/mnist --run-dir "$run/train_lenet" "$@"
    spark-submit --properties-file conf/local.conf jobs/evaluate_lenet.py \
        --model "$run/train_lenet" --data data/mnist --run-dir "$run/evaluate_lenet"

    # A rank per GPU, else two: on so small a network more would mostly wait for each other.
    gpus=$(python -c 'from jobs.runtime.gpu import visible_gpus; print(len(visible_gpus()))')
    spark-submit --properties-file conf/local.conf jobs/train_srgan.py \
        --config conf/srgan-tiny.toml --data data/sample/train --test-sets data/sample/test \
        --ranks "$((gpus == 1 ? 1 : 2))" --run-dir "$run/train_srgan"
    echo "  low resolution, bicubic, ours, original: $run/train_srgan/pictures"
    spark-submit --properties-file conf/local.conf jobs/evaluate_srgan.py \
        --models photo --test-sets data/sample/test --run-dir "$run/photo"
    echo "  low resolution, bicubic, photo, original: $run/photo/contact-sheet.png"
}

main "$@"; exit
