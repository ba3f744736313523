"""RLDS written by TensorFlow Datasets becomes a LeRobot dataset, value for value. See README.md beside this.

PYTHONPATH=. python tests/external/check_rlds.py
"""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path
import sys
import tempfile
from typing import Any

import numpy as np

from inspire_fast.data.converters.base import Description, convert
from inspire_fast.data.converters.rlds import DROID, rlds_episodes
from inspire_fast.data.lerobot.dataset import LeRobotDataset

LENGTHS = (5, 9, 7)
FAILED = 1  # the episode that was not successful
HW = (24, 32)


def step(episode: int, number: int) -> dict[str, Any]:
    """One step in DROID's layout."""
    rng = np.random.default_rng([episode, number])

    def picture() -> np.ndarray:
        return rng.integers(0, 256, (*HW, 3), dtype=np.uint8)

    return {
        "observation": {
            "exterior_image_1_left": picture(),
            "exterior_image_2_left": picture(),
            "wrist_image_left": picture(),
            "joint_position": rng.standard_normal(7),
            "gripper_position": rng.standard_normal(1),
            "cartesian_position": rng.standard_normal(6),
        },
        "action_dict": {"joint_velocity": rng.standard_normal(7), "gripper_position": rng.standard_normal(1)},
        "action": rng.standard_normal(7),
        "language_instruction": "",
        "language_instruction_2": f"put thing {episode} on the plate",
        "language_instruction_3": "do it",
        "is_first": number == 0,
        "is_last": number == LENGTHS[episode] - 1,
        "is_terminal": False,
        "reward": 0.0,
        "discount": 1.0,
    }


def write_rlds(folder: Path) -> Path:
    """A tiny DROID by the real library; returns the version's folder."""
    tfds: Any = importlib.import_module("tensorflow_datasets")
    image, f = tfds.features.Image, tfds.features

    def vector(n: int) -> Any:
        return f.Tensor(shape=(n,), dtype=np.float64)

    class TinyDroid(tfds.core.GeneratorBasedBuilder):
        """Steps nested in episodes, as RLDS has them."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            cameras = ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")
            pictures = {camera: image(shape=(*HW, 3), encoding_format="png") for camera in cameras}
            numbers = {"joint_position": vector(7), "gripper_position": vector(1), "cartesian_position": vector(6)}
            steps = {
                "observation": f.FeaturesDict({**pictures, **numbers}),
                "action_dict": f.FeaturesDict({"joint_velocity": vector(7), "gripper_position": vector(1)}),
                "action": vector(7),
                **{f"language_instruction{s}": f.Text() for s in ("", "_2", "_3")},
                **dict.fromkeys(("is_first", "is_last", "is_terminal"), np.bool_),
                "reward": np.float32,
                "discount": np.float32,
            }
            about = f.FeaturesDict({"file_path": f.Text(), "recording_folderpath": f.Text()})
            everything = f.FeaturesDict({"steps": f.Dataset(steps), "episode_metadata": about})
            return tfds.core.DatasetInfo(builder=self, features=everything)

        def _split_generators(self, dl_manager: Any) -> Any:
            del dl_manager
            return {"train": self._generate_examples()}

        def _generate_examples(self) -> Any:
            for episode, length in enumerate(LENGTHS):
                outcome = "failure" if episode == FAILED else "success"
                about = {"file_path": f"lab/{outcome}/{episode}.h5", "recording_folderpath": "lab"}
                yield episode, {"steps": [step(episode, i) for i in range(length)], "episode_metadata": about}

    builder = TinyDroid(data_dir=str(folder))
    builder.download_and_prepare()
    return Path(builder.data_dir)


def main() -> None:
    """Writes, converts, compares."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = write_rlds(Path(folder) / "rlds")
        root = Path(folder) / "lerobot"
        done = convert(rlds_episodes(prepared.parent, DROID), root, Description(fps=DROID.fps, robot_type=DROID.robot))
        dataset = LeRobotDataset(root)
        # TensorFlow Datasets shuffles when it writes: the instruction tells which episode is which.
        seen = set()
        for place in dataset.episodes:
            episode = int(dataset.task(place.start).split()[2])
            seen.add(episode)
            assert place.length == LENGTHS[episode]
            for frame in range(place.length):
                row, wanted = dataset.row(place.start + frame), step(episode, frame)
                for name in ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left"):
                    np.testing.assert_array_equal(row[name], wanted["observation"][name])
                for name in ("joint_position", "gripper_position", "cartesian_position"):
                    value = np.float32(wanted["observation"][name])
                    np.testing.assert_array_equal(np.atleast_1d(row[name]), value)
                actions = [wanted["action_dict"][name] for name in ("joint_velocity", "gripper_position")]
                np.testing.assert_array_equal(row["actions"], np.concatenate(actions).astype(np.float32))
        assert seen == set(range(len(LENGTHS))) - {FAILED}, seen
        versions = {name: importlib.metadata.version(name) for name in ("tensorflow-datasets", "tensorflow-cpu")}
        sys.stdout.write(f"{versions}\n{done}\nall equal\n")


if __name__ == "__main__":
    main()
