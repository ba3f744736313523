"""Policy server for the protocol tests: a scripted motion on openpi's wire, with faults on command.

python scripted_server.py PORT ROBOT [--horizon 24] [--delay-ms 600] [--nan-after N] [--wide-after N]

Prints "ready". The joints (or the end effector) swing around the pose of the first request; the gripper opens and
closes.
"""

import argparse
import sys
import time

import numpy as np
from websockets.sync.server import serve

from inspire_fast.client.codec import pack, unpack
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.identity import robot_metadata

_PERIOD_S = 4.0
_JOINTS = np.array([0.25, 0.1, 0.2, 0.15, 0.2, 0.2, 0.3])


class Script:
    """A swing of the joints, as positions, velocities or end-effector steps."""

    def __init__(self, robot, horizon):
        self.robot, self.horizon, self.first, self.start_s = robot, horizon, None, time.monotonic()

    def chunk(self, observation):
        now = time.monotonic() - self.start_s
        times = now + np.arange(self.horizon + 1) / self.robot.control_hz
        swing = np.sin(2 * np.pi * times / _PERIOD_S)[:, None]
        closed = (np.sin(np.pi * times[:-1] / _PERIOD_S) > 0).astype(float)[:, None]
        if self.robot.name == "franka_delta_pose":
            steps = np.diff(swing, axis=0) * np.array([0.04, 0.06, 0.03, 0.0, 0.0, 0.2])
            return np.concatenate([steps, closed], axis=1)
        if self.robot.name == "aloha":
            measured = np.asarray(observation["state"], np.float64)
            self.first = measured if self.first is None else self.first
            arms = self.first + swing * np.tile([*_JOINTS[:6], 0.0], 2)
            arms[:, [6, 13]] = np.concatenate([closed, closed[-1:]])  # shares of the motors' range
            return arms[1:]
        measured = np.asarray(observation["observation/joint_position"], np.float64)
        self.first = measured if self.first is None else self.first
        wanted = self.first + swing * _JOINTS
        if self.robot.name == "droid_joint_position":
            return np.concatenate([wanted[1:], closed], axis=1)
        velocities = np.diff(wanted, axis=0) / 0.2
        velocities += 0.2 * (wanted[0] - measured) / 0.2  # back to the path
        return np.concatenate([np.clip(velocities, -1, 1), closed], axis=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("robot")
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--nan-after", type=int, default=10**9)
    parser.add_argument("--wide-after", type=int, default=10**9)
    args = parser.parse_args()
    script = Script(ROBOTS[args.robot], args.horizon)
    served = 0

    def answer(connection):
        nonlocal served
        connection.send(
            pack({**robot_metadata(script.robot), "name": "scripted", "control_hz": script.robot.control_hz})
        )
        for message in connection:
            observation = unpack(message)
            time.sleep(args.delay_ms / 1e3)
            actions = script.chunk(observation).astype(np.float32)
            served += 1
            if served > args.nan_after:
                actions[3] = np.nan
            if served > args.wide_after:
                actions = np.concatenate([actions, actions[:, :1]], axis=1)
            connection.send(pack({"actions": actions}))

    with serve(answer, "127.0.0.1", args.port, max_size=2**26, compression=None) as server:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    main()
