#!/bin/sh
# Makes a fresh machine ready for `uv run ...` in this checkout. Quiet and quick when nothing is missing.
#
# 1. looks for what only the system can provide: an OpenGL that renders without a screen, a way to get uv;
# 2. gets uv, unless PATH has it, into .tools/ (kept inside the checkout: nothing else on the machine changes);
# 3. brings the environment in .venv/ in step with pyproject.toml.
#
# Missing system packages are installed where that is possible (root, apt-get); anybody else reads the command to run,
# before any long download has begun. Settings of pip (PIP_*) and uv (UV_*) apply as always.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/.tools/bin:$PATH"

say() { printf 'bootstrap: %s\n' "$*" >&2; }

# The simulator's own check, by path: it needs nothing but the standard library.
can_render() {
    python3 -c 'import runpy; runpy.run_path("inspire_fast/envs/gl.py")["choose_backend"]()' 2>/dev/null
}

# pyproject.toml's `required-version` says the same; an older uv on PATH is left alone and a newer one goes to .tools/.
has_uv() {
    case "$(uv --version 2>/dev/null)" in
        "" | "uv 0."[0-7].*) return 1 ;;
    esac
}

can_install_uv() { python3 -c 'import pip' 2>/dev/null || python3 -c 'import ensurepip' 2>/dev/null; }

install_uv() {
    say "no uv on PATH: installing it into .tools/"
    if python3 -c 'import pip' 2>/dev/null; then
        python3 -m pip install --quiet --disable-pip-version-check --upgrade --target .tools "uv>=0.13,<0.14"
    else
        python3 -m venv .tools/venv
        .tools/venv/bin/python -m pip install --quiet --disable-pip-version-check "uv>=0.13,<0.14"
        mkdir -p .tools/bin
        ln -sf ../venv/bin/uv .tools/bin/uv
    fi
    say "outside make, put it on your PATH:  export PATH=\"$PWD/.tools/bin:\$PATH\""
}

install_system_packages() {
    if ! command -v apt-get >/dev/null; then
        say "missing on this machine: $why"
        say "Install it with your system's package manager (Debian's names: $packages), then repeat."
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        say "missing on this machine: $why"
        say "Only root can install it. Run this as root (or with sudo in front of both), then repeat:"
        say "    apt-get update && apt-get install -y --no-install-recommends$packages"
        exit 1
    fi
    say "missing on this machine: $why; installing$packages"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || say "apt-get update failed; trying with the package lists that are there"
    # shellcheck disable=SC2086  # a list of names
    apt-get install -y -qq -o DPkg::Lock::Timeout=120 --no-install-recommends $packages >&2
}

if ! command -v python3 >/dev/null; then
    say "python3 is missing; this project needs Python 3.11 or newer (Debian 12: apt-get install python3)."
    exit 1
fi

packages=""
why=""
if ! can_render; then
    packages="$packages libegl1 libgl1"
    why="OpenGL without a screen (the simulator's cameras)"
fi
if ! has_uv && ! can_install_uv; then
    packages="$packages python3-pip"
    why="${why:+$why, }pip (to get uv)"
fi
if [ -n "$packages" ]; then
    install_system_packages
fi
if ! can_render; then
    python3 -c 'import runpy; runpy.run_path("inspire_fast/envs/gl.py")["choose_backend"]()' || exit 1
fi
has_uv || install_uv

case "${UV_CACHE_DIR:-}" in
    "$PWD"/*) say "no home directory: outside make, first  export UV_CACHE_DIR=\"$UV_CACHE_DIR\"" ;;
esac

# Single wheels here have 70-100 MB; uv gives up on a stalled read after 30 s unless told otherwise.
export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"
if ! uv sync --quiet --check 2>/dev/null; then
    say "bringing .venv/ in step with pyproject.toml (the first time: about 1 GB of packages)"
    uv sync
fi
