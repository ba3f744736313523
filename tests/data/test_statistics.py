"""Statistics come from numbers alone, exact or streamed; the report is silent on sound data and names what is odd."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.lerobot import frames
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.data.normalization import compute as statistics
from inspire_fast.data.normalization.compute import fits_in_memory, source_stats
from inspire_fast.data.normalization.delta import delta_actions
from inspire_fast.data.normalization.normalizer import Normalizer
from inspire_fast.data.normalization.report import FastRange, describe, inspect_stats
from inspire_fast.data.normalization.running import RunningStats
from inspire_fast.data.normalization.stats import NormStats, exact_stats
from inspire_fast.robots import ROBOTS
from tests.data.synthetic import FEATURES, GOLDEN, episode_columns

LIBERO = ROBOTS["libero"]
LENGTHS = (40, 30, 50)
DELTA = (True,) * 6 + (False,)


def make(root: Path, change=None, robot=LIBERO) -> ChunkSource:
    """States that wander, and actions that are targets near the state: what a sound dataset looks like."""
    with DatasetWriter(root, fps=20, robot_type="panda", features=FEATURES, image_storage="video") as writer:
        for episode, length in enumerate(LENGTHS):
            rng = np.random.default_rng(episode)
            state = rng.uniform(-0.8, 0.8, (length, 8)).astype(np.float32)
            actions = (0.9 * state[:, :7] + rng.normal(0, 0.03, (length, 7))).astype(np.float32)
            columns = {**episode_columns(episode, length), "state": state, "actions": actions}
            columns["image_age_s"] = np.zeros(length, np.float32)
            if change:
                change(columns)
            writer.add_episode(columns, task="a task")
    return ChunkSource(LeRobotDataset(root), None, robot=robot, horizon=5)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> ChunkSource:
    return make(tmp_path_factory.mktemp("sound") / "set")


def report(source: ChunkSource, *, delta=(), stats=None, kind="quantile", fast=None):
    stats = stats or source_stats(source, delta=delta)
    return inspect_stats(source, Normalizer(stats=stats, kind=kind, delta=delta), fast=fast)


@pytest.mark.parametrize("delta", [(), DELTA])
def test_exact_statistics_are_those_of_the_whole_array(sound: ChunkSource, delta) -> None:
    states = sound.states()
    wanted = {"state": exact_stats(states), "actions": exact_stats(delta_actions(sound.chunks(), states, delta))}
    got = source_stats(sound, delta=delta)
    for name, stats in wanted.items():
        for field in ("mean", "std", "q01", "q99"):
            np.testing.assert_allclose(getattr(got[name], field), getattr(stats, field), rtol=1e-9, atol=1e-12)


def test_streaming_is_the_running_statistics_of_the_batches(
    sound: ChunkSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_BATCH", 32)
    monkeypatch.setattr(statistics._batches, "__defaults__", (32,))
    running = RunningStats()
    states, chunks = sound.states(), delta_actions(sound.chunks(), sound.states(), DELTA)
    for start in range(0, len(states), 32):
        running.update(chunks[start : start + 32])
    got = source_stats(sound, delta=DELTA, streaming=True)["actions"]
    for field in ("mean", "std", "q01", "q99"):
        np.testing.assert_array_equal(getattr(got, field), getattr(running.stats(), field))
    exact = source_stats(sound, delta=DELTA)["actions"]
    assert exact.q01 is not None
    np.testing.assert_allclose(got.q01, exact.q01, atol=0.02)


def test_size_decides(sound: ChunkSource, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fits_in_memory(sound)
    need = sum(LENGTHS) * 5 * 28
    assert not fits_in_memory(sound, need - 1)
    assert fits_in_memory(sound, need)
    monkeypatch.setattr(statistics, "fits_in_memory", lambda source: False)
    streamed, forced = source_stats(sound), source_stats(sound, streaming=True)
    np.testing.assert_array_equal(streamed["actions"].q99, forced["actions"].q99)
    assert not np.array_equal(source_stats(sound, streaming=False)["actions"].q99, forced["actions"].q99)


def test_no_picture_is_decoded_for_numbers_and_each_once_for_samples(
    sound: ChunkSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[float] = []

    class Counting(frames.VideoReader):
        def frame(self, time_s: float, tolerance_s: float, pixels: str = "rgb24") -> np.ndarray:
            decoded.append(time_s)
            return super().frame(time_s, tolerance_s, pixels)

    monkeypatch.setattr(frames, "VideoReader", Counting)
    source = ChunkSource(LeRobotDataset(sound.dataset.root), None, robot=LIBERO, horizon=5)
    source_stats(source)
    source_stats(source, streaming=True)
    report(source)
    source.tasks()
    assert decoded == []
    for _ in range(2):
        for i in (3, 60, 3, 61):
            source[i]
    assert len(decoded) == 3 * 2, "three frames of two cameras, whatever is read again"


def test_sound_data_is_silent(sound: ChunkSource) -> None:
    assert report(sound) == ()
    assert report(sound, delta=DELTA) == ()
    assert report(sound, kind="zscore") == ()
    assert describe(()) == "report: nothing unusual"


def test_near_constant_dimensions(tmp_path: Path) -> None:
    def still(columns: dict) -> None:
        columns["state"][:, 5] = 0.25
        columns["actions"][:, 2] = np.random.default_rng(0).normal(0, 1e-5, len(columns["actions"]))

    findings = report(make(tmp_path / "set", still))
    assert [(f.kind, f.quantity, f.dims) for f in findings] == [
        ("near_constant", "state", (5,)),
        ("near_constant", "actions", (2,)),
    ]
    assert "eef_rz_rad [5] spans 0" in describe(findings)


def test_double_deltas(tmp_path: Path) -> None:
    def deltas(columns: dict) -> None:
        drawn = np.random.default_rng(1).normal(0, 0.1, columns["actions"].shape)
        columns["actions"] = drawn.repeat(4, axis=0)[: len(drawn)].astype(np.float32)  # a motion goes on for a while

    source = make(tmp_path / "set", deltas)
    (finding,) = report(source, delta=DELTA)
    assert (finding.kind, finding.dims) == ("double_delta", (0, 1, 2, 3, 4, 5))
    assert "deltas already" in finding.message
    assert report(source) == (), "not asked for, they are no double deltas"


def test_targets_that_overshoot_the_state_are_no_deltas(tmp_path: Path) -> None:
    """They follow the state, although they lie further from it than it spreads."""

    def far(columns: dict) -> None:
        columns["actions"] = 1.9 * columns["state"][:, :7]

    kinds = {finding.kind for finding in report(make(tmp_path / "set", far), delta=DELTA)}
    assert "double_delta" not in kinds


def test_missing_deltas(tmp_path: Path) -> None:
    source = make(tmp_path / "set", robot=replace(LIBERO, delta=DELTA))
    (finding,) = report(source)
    assert (finding.kind, finding.dims) == ("missing_delta", (0, 1, 2, 3, 4, 5))
    assert report(source, delta=DELTA) == ()


def test_statistics_of_another_robot(sound: ChunkSource) -> None:
    own = source_stats(sound)
    narrow = NormStats(**{name: v[:6] for name, v in vars(own["state"]).items()})
    (finding,) = report(sound, stats={**own, "state": narrow})
    assert (finding.kind, finding.quantity) == ("foreign_statistics", "state")
    assert "6 dimensions for robot 'libero', which has 8" in finding.message
    millimetres = {name: v.copy() for name, v in vars(own["state"]).items()}
    for v in millimetres.values():
        v[1] *= 1000
    (finding,) = report(sound, stats={**own, "state": NormStats(**millimetres)})
    assert (finding.kind, finding.dims) == ("foreign_statistics", (1,))
    assert "eef_y_m [1]" in finding.message
    shifted = NormStats(**{name: v + (0.8 if name != "std" else 0) for name, v in vars(own["actions"]).items()})
    (finding,) = report(sound, stats={**own, "actions": shifted})
    assert (finding.kind, finding.quantity, finding.dims) == ("foreign_statistics", "actions", tuple(range(7)))


@pytest.mark.parametrize("sign", [0, 1, -1])
def test_actions_beyond_the_limits(tmp_path: Path, sign: int) -> None:
    def degrees(columns: dict) -> None:
        degrees = columns["actions"][:, 3:5] * 57.3
        columns["actions"][:, 3:5] = sign * np.abs(degrees) if sign else degrees

    (finding,) = report(make(tmp_path / "set", degrees))
    assert (finding.kind, finding.dims) == ("limits", (3, 4))
    assert "other units" in finding.message


def test_statistics_of_a_few_times_the_width_are_the_datas(sound: ChunkSource) -> None:
    """From five times on they are not; narrower ones have too many numbers outside."""
    own = source_stats(sound)

    def wider(times: float) -> dict[str, NormStats]:
        state = {name: v * (1 if name == "mean" else times) for name, v in vars(own["state"]).items()}
        return {**own, "state": NormStats(**state)}

    assert report(sound, stats=wider(4)) == report(sound, stats=wider(1.0)) == ()
    assert report(sound, stats=wider(2), kind="zscore") == ()
    (finding,) = report(sound, stats=wider(6))
    assert (finding.kind, finding.quantity, finding.dims) == ("foreign_statistics", "state", tuple(range(8)))
    assert "eef_x_m [0]: 0% outside, spread 0.17 times theirs" in finding.message


def test_statistics_without_quantiles_are_judged_by_their_deviation(sound: ChunkSource) -> None:
    plain = {name: NormStats(mean=s.mean, std=s.std) for name, s in source_stats(sound).items()}
    assert report(sound, stats=plain, kind="zscore") == ()
    still = NormStats(mean=plain["state"].mean, std=np.where(np.arange(8) == 2, 4e-4, plain["state"].std))
    found = report(sound, stats={**plain, "state": still}, kind="zscore")
    assert ("near_constant", (2,)) in {(f.kind, f.dims) for f in found}
    assert "eef_z_m [2] spans 0.0016: hardly moves" in describe(found)


def test_another_rate_than_the_robots(sound: ChunkSource) -> None:
    stats = source_stats(sound)
    slower = ChunkSource(sound.dataset, None, robot=replace(LIBERO, control_hz=10.0), horizon=5)
    (finding,) = report(slower, stats=stats)
    assert (finding.kind, finding.dims) == ("control_rate", ())
    assert "recorded at 20 frames per second, and robot 'libero' is controlled at 10 Hz" in finding.message
    nearly = ChunkSource(sound.dataset, None, robot=replace(LIBERO, control_hz=20.1), horizon=5)
    assert report(nearly, stats=stats) == ()


def test_chunks_that_the_tokenizer_refuses(sound: ChunkSource) -> None:
    assert report(sound, fast=FastRange(min_token=-354, max_token=1000)) == ()
    (finding,) = report(sound, fast=FastRange(min_token=-10, max_token=15))
    assert finding.kind == "fast_range"
    assert "of 120 chunks" in finding.message
    assert "-10 .. 15" in finding.message


def test_actions_drawn_at_random_are_called_noise(sound: ChunkSource, tmp_path: Path) -> None:
    front = ROBOTS["libero_front"]
    for kind in ("image", "video"):  # random numbers, as another program wrote them
        found = report(ChunkSource(LeRobotDataset(GOLDEN / "lerobot_v3" / kind), None, robot=front, horizon=10))
        assert "Nothing can be learnt from them" in next(f.message for f in found if f.kind == "noise")

    def following(columns: dict) -> None:  # of no state, but each close to the one before
        walk = np.random.default_rng(3).normal(0, 0.1, columns["actions"].shape).cumsum(axis=0)
        columns["actions"] = np.clip(walk, -1, 1).astype(np.float32)

    assert "noise" not in {f.kind for f in report(make(tmp_path / "walk", following))}
