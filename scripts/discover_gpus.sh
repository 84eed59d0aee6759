#!/usr/bin/env bash
# Tells a Spark Worker which GPUs it has; Spark wants this JSON on stdout.
#
# usage: spark.worker.resource.gpu.discoveryScript=/path/to/scripts/discover_gpus.sh
# environment: GPU_ADDRESSES="0 1" invents addresses, to try the scheduling without GPUs
#              CUDA_VISIBLE_DEVICES=2,3 are the only ones that this Worker may offer
#              GPU_FIRST=1 leaves out the first, which another Worker of this machine offers
set -euo pipefail

found="${GPU_ADDRESSES:-${CUDA_VISIBLE_DEVICES:-}}"
[[ -n "$found" ]] || found="$(nvidia-smi --query-gpu=index --format=csv,noheader)"
read -ra addresses <<< "$(tr ',\n' '  ' <<< "$found")"
addresses=("${addresses[@]:${GPU_FIRST:-0}}")
if ((${#addresses[@]} == 0)); then
    echo "no GPU is left for this Worker" >&2
    exit 1
fi
printf -v list '"%s", ' "${addresses[@]}"
echo "{\"name\": \"gpu\", \"addresses\": [${list%, }]}"
