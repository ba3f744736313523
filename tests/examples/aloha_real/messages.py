"""Messages and services of Interbotix' `xs_sdk`, as far as the example uses them, made into Python by Debian's genpy.

python messages.py ROS_ROOT FOLDER

The types, names and order of the fields are those of Interbotix' interface (ROS 1): a ROS checksum is made of them.
"""

from pathlib import Path
import subprocess
import sys

PACKAGE = "interbotix_xs_msgs"
TARGET = "string cmd_type\nstring name\n"
MESSAGES = {
    "JointGroupCommand": "string name\nfloat32[] cmd\n",
    "JointSingleCommand": "string name\nfloat32 cmd\n",
}
SERVICES = {
    "TorqueEnable": f"{TARGET}bool enable\n---\n",
    "Reboot": f"{TARGET}bool enable\nbool smart_reboot\n---\n",
    "OperatingModes": f"{TARGET}string mode\nstring profile_type\n"
    "int32 profile_velocity\nint32 profile_acceleration\n---\n",
    "RobotInfo": f"{TARGET}---\nstring mode\nstring profile_type\nstring[] joint_names\nint16[] joint_ids\n"
    "float32[] joint_lower_limits\nfloat32[] joint_upper_limits\nfloat32[] joint_velocity_limits\n"
    "float32[] joint_sleep_positions\nint16[] joint_state_indices\nint16 num_joints\nstring[] name\n",
}


def generate(ros_root: Path, folder: Path) -> None:
    """Writes the package `interbotix_xs_msgs` into a folder."""
    for kind, definitions in (("msg", MESSAGES), ("srv", SERVICES)):
        sources, made = folder / "definitions" / kind, folder / PACKAGE / kind
        sources.mkdir(parents=True, exist_ok=True)
        made.mkdir(parents=True, exist_ok=True)
        for name, text in definitions.items():
            (sources / f"{name}.{kind}").write_text(text, encoding="utf-8")
        tool = ros_root / "usr/lib/genpy" / f"gen{kind}_py.py"
        files = [str(sources / f"{name}.{kind}") for name in definitions]
        subprocess.run([sys.executable, str(tool), "-p", PACKAGE, "-o", str(made), *files], check=True)
        lines = [f"from ._{name} import *\n" for name in definitions]
        (made / "__init__.py").write_text("".join(lines), encoding="utf-8")
    (folder / PACKAGE / "__init__.py").write_text("", encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]), Path(sys.argv[2]))
