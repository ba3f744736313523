"""Small datasets made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.facts import write_facts
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.data.video import Codec

GOLDEN = Path(__file__).parents[1] / "golden"
HW = (32, 32)
FEATURES = {
    "image": {"dtype": "image", "shape": (*HW, 3)},
    "wrist_image": {"dtype": "image", "shape": (*HW, 3)},
    "state": {"dtype": "float32", "shape": (8,), "names": ["state"]},
    "actions": {"dtype": "float32", "shape": (7,), "names": ["actions"]},
    "image_age_s": {"dtype": "float32", "shape": (1,)},
}


def smooth_image(seed: int) -> np.ndarray:
    """A picture that video codecs keep nearly unchanged."""
    y, x = np.mgrid[: HW[0], : HW[1]] / HW[0]
    channels = [127 + 100 * np.sin(2 * x + 3 * y + seed * 0.7 + c) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def episode_columns(episode: int, length: int, *, rendered_every: int = 1) -> dict[str, np.ndarray]:
    """Frames that show their number; every `rendered_every`-th one is rendered and repeated until the next."""
    rng = np.random.default_rng(episode)
    shown = np.arange(length) // rendered_every * rendered_every
    return {
        "image": np.stack([smooth_image(100 * episode + i) for i in shown]),
        "wrist_image": np.stack([smooth_image(1000 + 100 * episode + i) for i in shown]),
        "state": rng.standard_normal((length, 8)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (length, 7)).astype(np.float32),
        "image_age_s": ((np.arange(length) - shown) * 0.05).astype(np.float32),
    }


def write_dataset(
    root: Path,
    lengths: Sequence[int] = (7, 5, 6),
    *,
    storage: Literal["image", "video"] = "image",
    codec: Codec = "av1",
    rendered_every: int = 1,
    overwrite: bool = False,
) -> Path:
    """Episodes of the given lengths with alternating tasks."""
    with DatasetWriter(
        root,
        fps=20,
        robot_type="panda",
        features=FEATURES,
        image_storage=storage,
        video_codec=codec,
        overwrite=overwrite,
    ) as writer:
        for episode, length in enumerate(lengths):
            columns = episode_columns(episode, length, rendered_every=rendered_every)
            writer.add_episode(columns, task=f"put thing {episode % 2} on the plate")
    return root


def scene(seed: int, targets: int = 2) -> SceneFacts:
    """Random facts; the first target has a point in the picture, the others none."""
    rng = np.random.default_rng(seed)
    return SceneFacts(
        targets=tuple(
            TargetFacts(
                phrase=f"the thing {number}",
                offset_m=rng.uniform(-0.3, 0.3, 3).astype(np.float32),
                grasped=bool(rng.integers(2)),
                point_px=(0.25, 0.5) if number == 0 else None,
            )
            for number in range(targets)
        )
    )


def label(root: Path, lengths: Sequence[int] = (7, 5, 6)) -> dict[int, list[SceneFacts | None]]:
    """Writes facts for every frame and returns them."""
    facts: dict[int, list[SceneFacts | None]] = {
        episode: [scene(100 * episode + frame) for frame in range(length)] for episode, length in enumerate(lengths)
    }
    write_facts(root, facts, robot="libero", frame_description="world axes, +x front, +y right, +z up")
    return facts
