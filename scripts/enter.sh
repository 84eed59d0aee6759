# shellcheck shell=bash disable=SC2154
# Sourced by scripts that run in the environment. Reads root, the checkout's folder.

# Enter the environment, or end the script called "$1" with 69 and one line.
enter() {
    local venv="$root/.venv" why="" owner
    owner="$(cat "$venv/checkout" 2>/dev/null || true)"
    if [[ ! -f "$venv/bin/activate" ]]; then
        why="no environment"
    elif [[ -e "$venv/unfinished" ]]; then
        why="the environment is not finished"
    elif [[ "$owner" != "$(cd -P "$root" && pwd)" ]]; then
        why="the environment is that of ${owner:-another version}, not of $root"
    else
        # shellcheck disable=SC1091
        source "$venv/bin/activate" || exit 69
    fi
    [[ -z "$why" ]] || {
        echo "$1: error: $why; make it: bash $root/scripts/setup.sh" >&2
        exit 69
    }
}
