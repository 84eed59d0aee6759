#!/usr/bin/env bash
# Tells a Spark Worker which GPUs its node has; Spark wants this JSON on stdout.
#
# usage: spark.worker.resource.gpu.discoveryScript=/path/to/scripts/discover_gpus.sh
# environment: GPU_ADDRESSES="0 1" invents addresses, to try the scheduling without GPUs
set -euo pipefail

addresses="${GPU_ADDRESSES:-$(nvidia-smi --query-gpu=index --format=csv,noheader | xargs)}"
echo "{\"name\": \"gpu\", \"addresses\": [\"${addresses// /\", \"}\"]}"
