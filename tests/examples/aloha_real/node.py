"""Both arms and four cameras of ALOHA without hardware: the topics and services of Interbotix' nodes, by rospy.

python node.py FOLDER [--states-hz 100]
python node.py FOLDER --camera-hz 30 [--camera-size 480 640]     # the cameras, a program of their own as on a robot

A motor follows its command like a first-order lag at limited speed. Files in the folder are faults: `deaf_left`: no
states of the left arm; `stuck`: the motors stand still; `frozen`: the cameras send one picture; `blind`: they send
none; `limp_mode`: the arms' operating mode is another one. `commands` has one line per arrived command: time, arm,
positions.
"""

import argparse
import json
from pathlib import Path
import time

from interbotix_xs_msgs import msg, srv  # pyright: ignore[reportMissingImports]
import numpy as np
import rospy  # pyright: ignore[reportMissingImports]
from sensor_msgs.msg import Image, JointState  # pyright: ignore[reportMissingImports]

NAMES = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
LOW = (-3.14158, -1.85005, -1.76278, -3.14158, -1.86750, -3.14158)
HIGH = (3.14158, 1.25664, 1.60570, 3.14158, 2.23402, 3.14158)
SLEEP = (0.0, -1.80, 1.55, 0.0, 0.8, 0.0, 0.3)
CAMERAS = ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist")
LAG_S, SPEED = 0.05, 3.14
# A chain with the ViperX' axes and about its lengths; the joints' places are rounded, as nothing is measured by them.
LINKS = (
    ("waist", "0 0 0.08", "0 0 1"),
    ("shoulder", "0 0 0.05", "0 1 0"),
    ("elbow", "0.06 0 0.3", "0 1 0"),
    ("forearm_roll", "0.2 0 0", "1 0 0"),
    ("wrist_angle", "0.1 0 0", "0 1 0"),
    ("wrist_rotate", "0.07 0 0", "1 0 0"),
)


def urdf(name):
    links = ["base_link", *(f"{joint}_link" for joint, _, _ in LINKS), "ee_gripper_link"]
    joints = [
        f'<joint name="{joint}" type="revolute"><origin xyz="{xyz}"/><axis xyz="{axis}"/>'
        f'<parent link="{name}/{parent}"/><child link="{name}/{child}"/>'
        f'<limit lower="{low}" upper="{high}" velocity="3.14" effort="10"/></joint>'
        for (joint, xyz, axis), parent, child, low, high in zip(LINKS, links, links[1:], LOW, HIGH, strict=False)
    ]
    tip = (
        f'<joint name="ee" type="fixed"><origin xyz="0.14 0 0"/><parent link="{name}/{links[-2]}"/>'
        f'<child link="{name}/{links[-1]}"/></joint>'
    )
    return f'<robot name="vx300s">{"".join(f"<link name={chr(34)}{name}/{one}{chr(34)}/>" for one in links)}' + (
        "".join(joints) + tip + "</robot>"
    )


class Arm:
    """A ViperX with the interface of its `xs_sdk` node."""

    def __init__(self, name, folder, log):
        self.name, self.folder, self.log = name, folder, log
        self.q, self.target, self.torque = np.array(SLEEP), np.array(SLEEP), {"arm": False, "gripper": False}
        self.modes = {"arm": "pwm" if (folder / "limp_mode").exists() else "position", "gripper": "linear_position"}
        self.modes["gripper"] = "current_based_position"
        rospy.set_param(f"/{name}/robot_description", urdf(name))
        self.states = rospy.Publisher(f"/{name}/joint_states", JointState, queue_size=1, tcp_nodelay=True)
        rospy.Subscriber(f"/{name}/commands/joint_group", msg.JointGroupCommand, self.group, tcp_nodelay=True)
        rospy.Subscriber(f"/{name}/commands/joint_single", msg.JointSingleCommand, self.single, tcp_nodelay=True)
        for service, kind, answer in (
            ("get_robot_info", srv.RobotInfo, self.info),
            ("torque_enable", srv.TorqueEnable, self.enable),
            ("set_operating_modes", srv.OperatingModes, self.set_mode),
            ("reboot_motors", srv.Reboot, lambda _: srv.RebootResponse()),
        ):
            rospy.Service(f"/{name}/{service}", kind, answer)

    def group(self, command):
        assert command.name == "arm"
        if self.torque["arm"] and self.modes["arm"] == "position":
            self.target[:6] = command.cmd
        self.tell("arm", command.cmd)

    def single(self, command):
        assert command.name == "gripper"
        if self.torque["gripper"]:
            self.target[6] = command.cmd
        self.tell("gripper", [command.cmd])

    def tell(self, what, values):
        row = {"time_s": time.monotonic(), "arm": self.name, "what": what, "cmd": [round(v, 6) for v in values]}
        self.log.write(json.dumps(row) + "\n")
        self.log.flush()

    def info(self, request):
        return srv.RobotInfoResponse(
            mode=self.modes[request.name],
            profile_type="velocity",
            joint_names=NAMES[:6],
            joint_ids=range(1, 7),
            joint_lower_limits=LOW,
            joint_upper_limits=HIGH,
            joint_velocity_limits=[SPEED] * 6,
            joint_sleep_positions=SLEEP[:6],
            joint_state_indices=range(6),
            num_joints=6,
            name=[request.name],
        )

    def enable(self, request):
        self.torque[request.name] = request.enable
        self.target = self.q.copy()
        return srv.TorqueEnableResponse()

    def set_mode(self, request):
        self.modes[request.name] = request.mode
        return srv.OperatingModesResponse()

    def move(self, dt_s):
        if not (self.folder / "stuck").exists():
            step = (self.target - self.q) * min(1.0, dt_s / LAG_S)
            self.q = self.q + np.clip(step, -SPEED * dt_s, SPEED * dt_s)
        if (self.folder / f"deaf_{self.name.removeprefix('puppet_')}").exists():
            return
        state = JointState(name=NAMES, position=self.q.tolist(), velocity=[0.0] * 7, effort=[0.0] * 7)
        state.header.stamp = rospy.Time.now()
        self.states.publish(state)


def show(folder, hz, size):
    """Cameras: noise that differs from picture to picture."""
    topics = [rospy.Publisher(f"/usb_{name}/image_raw", Image, queue_size=1) for name in CAMERAS]
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (*size, 3), np.uint8).tobytes() for _ in range(7)]
    rate, count = rospy.Rate(hz), 0
    while not rospy.is_shutdown():
        count += not (folder / "frozen").exists()
        for index, topic in enumerate(topics):
            if (folder / "blind").exists():
                break
            image = Image(height=size[0], width=size[1], encoding="rgb8", step=3 * size[1])
            image.header.stamp = rospy.Time.now()
            image.data = pictures[(count + index) % len(pictures)]
            topic.publish(image)
        rate.sleep()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--states-hz", type=float, default=100.0)
    parser.add_argument("--camera-hz", type=float)
    parser.add_argument("--camera-size", type=int, nargs=2, default=(480, 640))
    args = parser.parse_args()
    if args.camera_hz:
        rospy.init_node("cameras_of_the_test", anonymous=True)
        print("ready", flush=True)  # noqa: T201
        show(args.folder, args.camera_hz, args.camera_size)
        return
    rospy.init_node("xs_sdk_of_the_test", anonymous=True)
    with (args.folder / "commands").open("a", encoding="utf-8") as log:
        arms = [Arm(name, args.folder, log) for name in ("puppet_left", "puppet_right")]
        print("ready", flush=True)  # noqa: T201
        before = told = time.monotonic()
        rate = rospy.Rate(args.states_hz)
        while not rospy.is_shutdown():
            rate.sleep()
            now = time.monotonic()
            for arm in arms:
                arm.move(now - before)
            before = now
            if now - told > 0.5:
                told = now
                print(json.dumps({"q": [round(float(v), 5) for arm in arms for v in arm.q]}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
