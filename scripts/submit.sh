#!/usr/bin/env bash
# Submit a job with a profile, in this checkout's environment; for shells, cron and timers.
# Returns the job's exit code.
#
# usage: bash scripts/submit.sh JOB [--profile NAME] [--dry-run] [options of spark-submit]
#                               [-- options of the job]
#   JOB             train_lenet, evaluate_lenet, ...: a file of jobs/
#   --profile NAME  conf/NAME.conf, or the path of a file [local]
#   --dry-run       print the command and do nothing
# environment: HADOOP_CONF_DIR names the configuration of a YARN cluster
# A profile for YARN sends the archive of scripts/pack_environment.sh along.
# A profile for a standalone cluster goes to the Master that scripts/cluster.sh started last,
# unless there is none, or --master names another.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
source "$(dirname "${BASH_SOURCE[0]}")/usage.sh"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

fail() {
    echo "submit: error: $1" >&2
    exit "${2:-2}"
}

jobs="$(cd "$root/jobs" && echo [a-z]*.py)"
job="${1:-}"
[[ -n "$job" && "$job" != -* ]] || fail "which job? one of: $jobs"
shift
script="$root/jobs/${job%.py}.py"
[[ -f "$script" && "$job" != */* ]] || fail "no job $job; one of: $jobs"

profile=local
dry_run=""
spark=()
while (($#)); do
    case "$1" in
        --profile)
            (($# > 1)) || fail "--profile needs a name"
            profile="$2" && shift 2
            ;;
        --profile=*) profile="${1#*=}" && shift ;;
        --dry-run) dry_run=1 && shift ;;
        --) shift && break ;;
        *) spark+=("$1") && shift ;;
    esac
done
profile="${profile#file://}"
profile="${profile/#\~\//${HOME:-}/}"
[[ "$profile" == */* ]] || profile="$root/conf/$profile.conf"
[[ -f "$profile" ]] || fail "no profile $profile; one of: $(cd "$root/conf" && echo *.conf)"

# shellcheck source-path=SCRIPTDIR
source "$root/scripts/enter.sh"
enter submit
given=" ${spark[*]-} "
if [[ "$given" == *" --master"[\ =]* || "$given" == *[\ =]spark.master=* ]]; then
    master=given
else
    master="$(python "$root/jobs/runtime/properties.py" "$profile" 2>&1)" ||
        fail "$master"
fi

cluster="${SPARK_CLUSTER_FOLDER:-$root/runs/cluster}"
if [[ -f "$cluster/master" && "$master" == spark://* ]]; then
    spark=(--master "$(<"$cluster/master")" "${spark[@]}")
fi

if [[ "$master" == yarn* ]]; then
    archive="$root/runs/environment.tar.gz"
    spark=(--archives "$archive#environment" "${spark[@]}")
    [[ -n "$dry_run" || -f "$archive" ]] ||
        fail "no $archive; make it: bash scripts/pack_environment.sh" 69
    [[ -n "$dry_run" || -n "${HADOOP_CONF_DIR:-}${YARN_CONF_DIR:-}" ]] ||
        fail "HADOOP_CONF_DIR does not name the folder with the cluster's yarn-site.xml"
fi

command=(spark-submit --properties-file "$profile" "${spark[@]}" "$script" "$@")
if [[ -n "$dry_run" ]]; then
    printf '%q ' "${command[@]}"
    echo
    exit 0
fi
exec "${command[@]}"
