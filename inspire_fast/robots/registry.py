"""Every robot by its name."""

from inspire_fast.core.registry import Registry
from inspire_fast.robots.aloha import ALOHA
from inspire_fast.robots.droid import DROID
from inspire_fast.robots.droid_joint_position import DROID_JOINT_POSITION
from inspire_fast.robots.inspire_arm import INSPIRE_ARM
from inspire_fast.robots.libero import LIBERO
from inspire_fast.robots.libero_front import LIBERO_FRONT
from inspire_fast.robots.spec import Robot

ROBOTS: Registry[Robot] = Registry(
    "robot",
    {
        "libero": LIBERO,
        "libero_front": LIBERO_FRONT,
        "droid": DROID,
        "droid_joint_position": DROID_JOINT_POSITION,
        "aloha": ALOHA,
        "inspire_arm": INSPIRE_ARM,
    },
)
