"""A small labelled dataset in LIBERO's layout, with matching images, state, facts and actions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.facts import write_facts
from inspire_fast.data.lerobot.files import Version
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.robots import ROBOTS

TASK = "put the red block on the plate"
PHRASES = ("the red block", "the plate")


def write_fake_dataset(
    root: Path,
    *,
    episodes: int = 8,
    frames: int = 24,
    hw: int = 16,
    seed: int = 0,
    version: Version = "v3.0",
    tasks: Mapping[int, str] | None = None,
) -> Path:
    """Writes the dataset; `tasks` gives episodes other instructions.

    The state holds the block's position, images are brighter further right, actions go there.
    """
    rng, robot = np.random.default_rng(seed), ROBOTS["libero"]
    features = {
        "image": {"dtype": "image", "shape": (hw, hw, 3)},
        "wrist_image": {"dtype": "image", "shape": (hw, hw, 3)},
        "state": {"dtype": "float32", "shape": (robot.state_dim,)},
        "actions": {"dtype": "float32", "shape": (robot.action_dim,)},
    }
    facts: dict[int, list[SceneFacts]] = {}
    with DatasetWriter(root, fps=20, robot_type="panda", features=features, version=version) as writer:
        for episode in range(episodes):
            offset = rng.uniform(-0.3, 0.3, 3)
            state = rng.normal(scale=0.05, size=(frames, robot.state_dim)).astype(np.float32)
            state[:, :3] += offset.astype(np.float32)
            actions = np.tile(np.concatenate([np.sign(offset) * 0.5, np.zeros(3), [1.0]]), (frames, 1))
            actions = (actions + rng.normal(scale=0.02, size=actions.shape)).astype(np.float32)
            image = np.full((frames, hw, hw, 3), int(127 + 300 * offset[1]), np.uint8)
            columns = {"image": image, "wrist_image": image // 2, "state": state, "actions": actions}
            writer.add_episode(columns, task=(tasks or {}).get(episode, TASK))
            facts[episode] = [_scene(offset, grasped=frame > frames // 2) for frame in range(frames)]
    write_facts(root, facts, robot=robot.name, frame_description="world axes, +x front, +y right, +z up")
    return root


def _scene(offset: np.ndarray, *, grasped: bool) -> SceneFacts:
    near, far = offset.astype(np.float32), -offset.astype(np.float32)
    return SceneFacts(
        targets=(
            TargetFacts(phrase=PHRASES[0], offset_m=near, grasped=grasped),
            TargetFacts(phrase=PHRASES[1], offset_m=far, grasped=False),
        )
    )
