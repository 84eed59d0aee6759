#!/usr/bin/env bash
# Start and stop a standalone Spark cluster on the hosts of conf/workers.
#
# usage: bash scripts/cluster.sh start|stop|status|sync [options]      (--help tells them)
# environment: SPARK_SSH_OPTS holds further options for ssh
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source-path=SCRIPTDIR
source "$root/scripts/enter.sh"
enter cluster
exec python "$root/scripts/cluster.py" "$@"
