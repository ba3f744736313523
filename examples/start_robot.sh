#!/bin/sh
# Check, rehearsal, run: a robot's program in the order in which a first motion is safe.
#
#   PYTHON=robot/bin/python sh examples/start_robot.sh examples/franka/main.py --arm 172.16.0.2 --policy gpu:8000 ...
#
# 1. scripts/check_robot.py: cameras, rates, limits, start pose and policy. Whatever fails ends it here.
# 2. The program with --dry-run for 60 steps: everything but moving. Nothing of it is recorded.
# 3. The program with the options as they are; it asks before the first motion.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONPATH
[ $# -gt 0 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 2; }

rehearse() {
    left=$#
    while [ "$left" -gt 0 ]; do
        case $1 in
        --record | --report | --trace) shift 2 && left=$((left - 2)) ;;
        --record=* | --report=* | --trace=*) shift && left=$((left - 1)) ;;
        *) set -- "$@" "$1" && shift && left=$((left - 1)) ;;
        esac
    done
    "$python" "$@" --dry-run --episodes 1 --max-steps 60 --yes
}

"$python" "$root/scripts/check_robot.py" "$@"
echo "--- Rehearsal: 60 steps without moving ---"
rehearse "$@"
echo "--- Run ---"
exec "$python" "$@"
