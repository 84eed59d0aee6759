# shellcheck shell=bash disable=SC2154
# Part of scripts/setup.sh: the packages of conf/locked, and a build of PyTorch that suits.
# Reads PYTORCH, venv, uv, log, extras.

# At a terminal uv shows how far it is; what failed there is tried once more for the log.
install() {
    local command=("$uv" pip install --python "$venv/bin/python" --no-deps "$@")
    [[ -t 2 ]] && "${command[@]}" && return
    "${command[@]}" >>"$log" 2>&1
}

has_nvidia_device() { compgen -G "/dev/nvidia[0-9]*" >/dev/null || [[ -e /dev/dxg ]]; }

choose_pytorch() { # sets pytorch
    pytorch="${PYTORCH:-}"
    case "$pytorch" in
        cpu | cuda) ;;
        "") has_nvidia_device && pytorch=cuda || pytorch=cpu ;;
        *) fail "PYTORCH=$pytorch is neither cpu nor cuda" ;;
    esac
}

install_packages() {
    local size="0.9 GB" why="PyTorch for CPUs, since there is no NVIDIA device here"
    [[ -z "${PYTORCH:-}" ]] || why="PyTorch for CPUs"
    [[ "$pytorch" == cpu ]] || size="3.2 GB" why="PyTorch with CUDA"
    echo "setup: installing packages into .venv (up to $size to download: $why) ..."
    install --requirement conf/locked/packages.txt \
        ${extras:+--requirement "conf/locked/$extras.txt"} || packages_failed
    if [[ "$pytorch" == cpu ]]; then
        install_pytorch_for_cpus && return
        echo "setup: PyTorch's own index does not answer: taking its build with CUDA, 2.5 GB more" \
            "to download and 3.6 GB more of disk (docs/SETUP.md tells how to avoid that) ..."
    fi
    install --requirement conf/locked/cuda.txt || packages_failed
}

# From a folder or an index that the machine's settings name, else from PyTorch's own.
install_pytorch_for_cpus() {
    local torch torchvision
    torch="$(grep -o '^torch==[^ ]*' conf/locked/cuda.txt)"
    torchvision="$(grep -o '^torchvision==[^ ]*' conf/locked/cuda.txt)"
    if could_install "$torch+cpu" "$torchvision"; then
        install "$torch+cpu" "$torchvision"
    else
        export UV_HTTP_RETRIES=1
        could_install --torch-backend cpu "$torch" "$torchvision" &&
            install --torch-backend cpu "$torch" "$torchvision"
    fi
}

could_install() {
    "$uv" pip install --python "$venv/bin/python" --no-deps --dry-run "$@" >>"$log" 2>&1
}

has_pytorch() { # of the build that is asked for; the machine's own choice may change
    [[ -z "${PYTORCH:-}" ]] || [[ ! -f "$stamp" ]] || [[ "$(head -n 1 "$stamp")" == *" $PYTORCH" ]]
}

packages_failed() {
    fail "could not install the packages: $(last_words "$log"); see $log"
}
