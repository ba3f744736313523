"""Normalisation, running statistics and resizing against golden vectors of upstream's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from inspire_fast.data.images import resize_with_pad
from inspire_fast.data.normalize import (
    NormStats,
    compute_norm_stats,
    exact_stats,
    load_norm_stats,
    normalize_quantile,
    normalize_zscore,
    save_norm_stats,
    unnormalize_quantile,
    unnormalize_zscore,
)
from inspire_fast.data.running_stats import RunningStats
from tests.data.synthetic import GOLDEN

TRANSFORMS = GOLDEN / "c_transforms"
FUNCTIONS = {
    "normalize_zscore": normalize_zscore,
    "unnormalize_zscore": unnormalize_zscore,
    "normalize_quantile": normalize_quantile,
    "unnormalize_quantile": unnormalize_quantile,
}


@pytest.fixture
def vectors() -> dict[str, np.ndarray]:
    return dict(np.load(TRANSFORMS / "normalize.npz"))


@pytest.mark.parametrize("key", ["state", "actions"])
@pytest.mark.parametrize("width", ["full", "pad", "short"])
@pytest.mark.parametrize("function", list(FUNCTIONS))
def test_golden(vectors: dict[str, np.ndarray], function: str, width: str, key: str) -> None:
    name = f"{function}_{width}/{key}"
    if name not in vectors:
        wrong = {"pad": "Cannot normalise 12", "short": "Cannot unnormalise"}[width]
        with pytest.raises(ValueError, match=wrong):
            FUNCTIONS[function](vectors[f"in_{width}/{key}"], load_norm_stats(TRANSFORMS)[key])
        return
    result = FUNCTIONS[function](vectors[f"in_{width}/{key}"], load_norm_stats(TRANSFORMS)[key])
    np.testing.assert_array_equal(result, vectors[name])
    assert result.dtype == vectors[name].dtype


def test_file_round_trip(tmp_path: Path, vectors: dict[str, np.ndarray]) -> None:
    stats = load_norm_stats(TRANSFORMS / "norm_stats.json")
    for key in ("state", "actions"):
        for name in ("mean", "std", "q01", "q99"):
            np.testing.assert_array_equal(getattr(stats[key], name), vectors[f"stats/{key}/{name}"])
    save_norm_stats(tmp_path / "deep" / "asset", stats)
    ours = json.loads((tmp_path / "deep" / "asset" / "norm_stats.json").read_text())
    assert ours == json.loads((TRANSFORMS / "norm_stats.json").read_text())
    without = {"state": NormStats(mean=np.zeros(3), std=np.ones(3))}
    save_norm_stats(tmp_path, without)
    assert load_norm_stats(tmp_path)["state"].q01 is None
    with pytest.raises(ValueError, match="no quantiles"):
        normalize_quantile(np.zeros(3), load_norm_stats(tmp_path)["state"])


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"norm_stats\.json.*uv run scripts/compute_norm_stats\.py my_run"):
        load_norm_stats(tmp_path, config_name="my_run")
    path = tmp_path / "norm_stats.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="not openpi's format"):
        load_norm_stats(path)
    path.write_text('{"norm_stats": {"state": {"mean": [0, NaN], "std": [1, 1]}}}')
    with pytest.raises(ValueError, match=r"'state' are unusable.*mean holds NaN"):
        load_norm_stats(path)
    path.write_text('{"norm_stats": {"state": {"mean": [0, 1], "std": [1]}}}')
    with pytest.raises(ValueError, match=r"one length; got \{'mean': \(2,\), 'std': \(1,\)\}"):
        load_norm_stats(path)


def test_running_stats_golden() -> None:
    vectors = np.load(TRANSFORMS / "running_stats.npz")
    running = RunningStats()
    for i in range(6):
        batch = vectors[f"batch_{i}"]
        running.update(batch)
        np.testing.assert_array_equal(batch, vectors[f"batch_{i}"], err_msg="the input is not changed")
        stats = running.stats()
        for name in ("mean", "std", "q01", "q99"):
            np.testing.assert_array_equal(getattr(stats, name), vectors[f"after_{i}/{name}"], err_msg=f"{i} {name}")


def test_running_stats_refuses() -> None:
    running = RunningStats()
    with pytest.raises(ValueError, match="at least 2"):
        running.stats()
    running.update(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="4 dimensions after vectors of 3"):
        running.update(np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"dimensions \[1\]"):
        running.update(np.array([[0.0, np.inf, 0.0]]))


def test_exact_stats() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=(500, 10, 3)).astype(np.float32)
    stats = exact_stats(values)
    flat = values.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(stats.mean, flat.mean(0))
    np.testing.assert_array_equal(stats.q99, np.quantile(flat, 0.99, axis=0))
    running = RunningStats()
    running.update(values)
    np.testing.assert_allclose(running.stats().q99, stats.q99, rtol=0.01)
    with pytest.raises(ValueError, match=r"'actions'.*dimensions \[2\]"):
        compute_norm_stats({"state": values, "actions": np.where(np.arange(3) == 2, np.nan, values)})


def resize_input(h: int, w: int, seed: int, i: int) -> np.ndarray:
    """The recipe of the golden inputs: waves and noise."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[:h, :w]
    channel = np.arange(3)
    waves = 127 + 80 * np.sin(x[..., None] / (7.0 + channel * 3) + i) * np.cos(y[..., None] / (11.0 - channel * 2))
    return np.clip(np.rint(waves) + random.randint(-20, 21, size=(h, w, 3)), 0, 255).astype(np.uint8)


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.mark.parametrize(
    "case", json.loads((TRANSFORMS / "resize.json").read_text()), ids=lambda c: f"{c['h']}x{c['w']}"
)
def test_resize_with_pad_is_bit_equal(case) -> None:
    vectors = np.load(TRANSFORMS / "resize.npz")
    image = resize_input(case["h"], case["w"], case["seed"], case["i"])
    assert sha256(image) == case["input_sha256"]
    resized = resize_with_pad(image, case["H"], case["W"])
    np.testing.assert_array_equal(resized[::4, ::4], vectors[f"pil_{case['i']}_every4"])
    assert sha256(resized) == case["pil_sha256"]


def test_resize_with_pad_leading_dimensions() -> None:
    vectors = np.load(TRANSFORMS / "resize.npz")
    np.testing.assert_array_equal(resize_with_pad(vectors["batch_in"], 32, 32), vectors["pil_batch_out"])
    same = vectors["batch_in"]
    assert resize_with_pad(same, 40, 30) is same
    with pytest.raises(ValueError, match="uint8"):
        resize_with_pad(same.astype(np.float32), 32, 32)
