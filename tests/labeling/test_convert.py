from pathlib import Path

import numpy as np
import pytest

from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.labeling.demonstrations.episode import RecordedEpisode, save_episode
from inspire_fast.labeling.demonstrations.to_lerobot import write_dataset
from inspire_fast.robots import ROBOTS

LIBERO = ROBOTS["libero"]
STEPS, CHUNK = 7, 3


def recorded(number: int) -> RecordedEpisode:
    rng = np.random.default_rng(number)
    frames = -(-STEPS // CHUNK)
    return RecordedEpisode(
        state=rng.normal(size=(STEPS, 8)).astype(np.float32),
        actions=rng.uniform(-1, 1, (STEPS, 7)).astype(np.float32),
        phrases=("the bowl", "the plate"),
        offset_m=rng.normal(size=(STEPS, 2, 3)).astype(np.float32),
        grasped=rng.random((STEPS, 2)) < 0.5,
        point_px=np.full((STEPS, 2, 2), np.nan, np.float32),
        images={key: rng.integers(0, 256, (frames, 8, 8, 3), dtype=np.uint8) for key in LIBERO.cameras},
        chunk=CHUNK,
        prompt="put the bowl on the plate",
        success=True,
        suite="libero_goal",
        task=number,
        episode=number,
        seed=0,
    )


def test_a_recording_becomes_samples_with_fresh_pictures_and_its_facts(tmp_path: Path) -> None:
    episodes = [recorded(n) for n in range(3)]
    paths = [tmp_path / f"{n}.npz" for n in range(3)]
    for episode, path in zip(episodes, paths, strict=True):
        save_episode(episode, path)
    root = tmp_path / "dataset"
    write_dataset(paths, root, robot=LIBERO)
    dataset = LeRobotDataset(root)
    assert (len(dataset), dataset.fps) == (3 * STEPS, 20)
    source = ChunkSource(dataset, FactsTable.load(root), robot=LIBERO, horizon=2)
    assert [source.location(i) for i in range(len(source))] == [(e, f) for e in range(3) for f in (0, 3, 6)]
    for i in range(len(source)):
        number, frame = source.location(i)
        episode, sample = episodes[number], source[i]
        for key, camera in LIBERO.cameras.items():
            np.testing.assert_array_equal(sample.observation.images[camera], episode.images[key][frame // CHUNK])
        np.testing.assert_array_equal(sample.observation.state, episode.state[frame])
        assert sample.actions is not None
        np.testing.assert_array_equal(sample.actions[0], episode.actions[frame])
        assert sample.facts is not None
        for target, wanted in zip(sample.facts.targets, episode.facts(frame).targets, strict=True):
            assert (target.phrase, target.grasped) == (wanted.phrase, wanted.grasped)
            np.testing.assert_array_equal(target.offset_m, wanted.offset_m)
    with pytest.raises(FileExistsError):
        write_dataset(paths, root, robot=LIBERO)
