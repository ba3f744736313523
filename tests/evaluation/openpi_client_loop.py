"""openpi's LIBERO client up to its first request, as its published loop does it, with its own client package.

Runs in a process of its own (robosuite's OpenGL context and ours do not share one) and writes the request's bytes.

    python openpi_client_loop.py <suite> <task> <episode> <file>
"""

import math
from pathlib import Path
import sys

import numpy as np
from openpi_client import image_tools, msgpack_numpy

from inspire_fast.envs.libero.install import import_simulator
from inspire_fast.envs.libero.suites import find_task


def quat2axisangle(quat: np.ndarray) -> np.ndarray:
    """robosuite's, which the published loop copies."""
    if quat[3] > 1.0:
        quat[3] = 1.0
    elif quat[3] < -1.0:
        quat[3] = -1.0
    den = np.sqrt(1.0 - quat[3] * quat[3])
    if math.isclose(den, 0.0):
        return np.zeros(3)
    return (quat[:3] * 2.0 * math.acos(quat[3])) / den


def main(suite: str, number: int, episode: int) -> bytes:
    """Episodes in order from one seed; before the first request ten steps without motion."""
    task = find_task(suite, number)
    np.random.seed(7)
    env = import_simulator().OffScreenRenderEnv(
        bddl_file_name=str(task.bddl_file), camera_heights=256, camera_widths=256
    )
    env.seed(7)
    initial_states = task.initial_states()
    for done in range(episode + 1):
        env.reset()
        obs = env.set_init_state(initial_states[done])
    for _ in range(10):
        obs, _, _, _ = env.step([0.0] * 6 + [-1.0])
    img = np.ascontiguousarray(obs["agentview_image"][::-1, ::-1])
    wrist_img = np.ascontiguousarray(obs["robot0_eye_in_hand_image"][::-1, ::-1])
    img = image_tools.convert_to_uint8(image_tools.resize_with_pad(img, 224, 224))
    wrist_img = image_tools.convert_to_uint8(image_tools.resize_with_pad(wrist_img, 224, 224))
    element = {
        "observation/image": img,
        "observation/wrist_image": wrist_img,
        "observation/state": np.concatenate(
            (obs["robot0_eef_pos"], quat2axisangle(obs["robot0_eef_quat"]), obs["robot0_gripper_qpos"])
        ),
        "prompt": str(task.prompt),
    }
    packed = msgpack_numpy.packb(element)
    assert packed is not None
    return packed


if __name__ == "__main__":
    Path(sys.argv[4]).write_bytes(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
