# shellcheck shell=bash
# Sourced by the scripts that people call, before all else: answers --help with the comment at the
# head of the script.
case "${1:-}" in
    -h | --help)
        sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"
        exit 0
        ;;
esac
