#!/usr/bin/env bash
# What cron calls: the jobs of conf/nightly.toml, one after another, and a report.
# Says nothing when all went well, else one paragraph on stderr. Exit codes: 0, 1 something failed
# or got worse, 2 the configuration is wrong, 75 the night before is still at work.
#
# usage: bash scripts/nightly.sh [--config FILE.toml] [--max-accuracy-drop X] [--max-slowdown X]
# examples: conf/nightly.cron for crontab, conf/nightly.service and nightly.timer for systemd
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source-path=SCRIPTDIR
source "$root/scripts/enter.sh"
enter nightly
exec python "$root/scripts/nightly.py" "$@"
