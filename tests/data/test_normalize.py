"""Normalisation, running statistics and resizing; tests/golden/test_transforms.py compares them with upstream's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inspire_fast.data.images import resize_with_pad
from inspire_fast.data.normalization.running import RunningStats
from inspire_fast.data.normalization.stats import (
    NormStats,
    exact_stats,
    load_made_from,
    load_norm_stats,
    normalize_quantile,
    normalize_zscore,
    save_norm_stats,
    unnormalize_quantile,
    unnormalize_zscore,
    weighted_quantiles,
)


def test_file_round_trip(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    stats = {
        key: NormStats(**{name: random.normal(size=n) for name in ("mean", "std", "q01", "q99")})
        for key, n in (("state", 8), ("actions", 7))
    }
    save_norm_stats(tmp_path / "deep" / "asset", stats)
    back = load_norm_stats(tmp_path / "deep" / "asset" / "norm_stats.json")
    for key in ("state", "actions"):
        for name in ("mean", "std", "q01", "q99"):
            np.testing.assert_array_equal(getattr(stats[key], name), getattr(back[key], name))
    without = {"state": NormStats(mean=np.zeros(3), std=np.ones(3))}
    save_norm_stats(tmp_path, without)
    assert load_norm_stats(tmp_path)["state"].q01 is None
    with pytest.raises(ValueError, match="no quantiles"):
        normalize_quantile(np.zeros(3), load_norm_stats(tmp_path)["state"])


@pytest.mark.parametrize(
    ("forth", "back"), [(normalize_zscore, unnormalize_zscore), (normalize_quantile, unnormalize_quantile)]
)
def test_the_way_there_and_back(forth, back) -> None:
    random = np.random.default_rng(1)
    stats = NormStats(
        mean=random.normal(size=3), std=np.array([0.0, 1, 2]), q01=-np.ones(3), q99=np.array([-1, 1, 3.0])
    )
    x = random.normal(size=(4, 5, 3))
    np.testing.assert_allclose(back(forth(x, stats), stats), x, atol=1e-9)


def test_vectors_narrower_and_wider_than_the_statistics() -> None:
    """The network's vectors may be padded: forth with fewer dimensions, back with more."""
    stats = NormStats(mean=np.array([1.0, 2, 3]), std=np.array([2.0, 4, 8]), q01=np.zeros(3), q99=np.array([2.0, 4, 8]))
    x = np.full((2, 5, 2), 4.0)
    np.testing.assert_allclose(normalize_zscore(x, stats)[1, 4], [1.5, 0.5], atol=1e-5)
    np.testing.assert_allclose(normalize_quantile(x, stats)[1, 4], [3.0, 1.0], atol=1e-5)
    padded = np.concatenate([np.ones((2, 5, 3)), np.full((2, 5, 1), 7.0)], axis=-1)
    np.testing.assert_allclose(unnormalize_zscore(padded, stats)[1, 4], [3, 6, 11, 7], atol=1e-4)
    np.testing.assert_allclose(unnormalize_quantile(padded, stats)[1, 4], [2, 4, 8, 7], atol=1e-4)
    for forth in (normalize_zscore, normalize_quantile):
        with pytest.raises(ValueError, match="Cannot normalise 4 dimensions with statistics of 3"):
            forth(np.zeros((2, 4)), stats)
    for back in (unnormalize_zscore, unnormalize_quantile):
        with pytest.raises(ValueError, match="Cannot unnormalise 2 dimensions with statistics of 3"):
            back(np.zeros((4, 2)), stats)


def test_quantiles_are_both_there_or_neither() -> None:
    for name in ("q01", "q99"):
        with pytest.raises(ValueError, match="both quantiles or neither"):
            NormStats(mean=np.zeros(2), std=np.ones(2), **{name: np.zeros(2)})


def test_what_statistics_are_of_is_kept_beside_them(tmp_path: Path) -> None:
    unit = {"state": NormStats(mean=np.zeros(2), std=np.ones(2))}
    for made_from in (None, {"dataset": "d", "rows": 3}):
        save_norm_stats(tmp_path, unit, made_from=made_from)
        assert load_made_from(tmp_path) == made_from
        assert load_norm_stats(tmp_path).keys() == unit.keys()


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"norm_stats\.json.*uv run scripts/compute_norm_stats\.py my_run"):
        load_norm_stats(tmp_path, config_name="my_run")
    path = tmp_path / "norm_stats.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="not openpi's format"):
        load_norm_stats(path)
    path.write_text('{"norm_stats": {"state": {"mean": [0, NaN], "std": [1, 1]}}}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"'state' are unusable.*mean holds NaN"):
        load_norm_stats(path)
    path.write_text('{"norm_stats": {"state": {"mean": [0, 1], "std": [1]}}}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"one length; got \{'mean': \(2,\), 'std': \(1,\)\}"):
        load_norm_stats(path)


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
    np.testing.assert_allclose(running.stats().mean, stats.mean, rtol=1e-5)
    np.testing.assert_allclose(running.stats().std, stats.std, rtol=1e-5)
    with pytest.raises(ValueError, match=r"NaN or infinity are refused \(dimensions \[2\]"):
        exact_stats(np.where(np.arange(3) == 2, np.nan, values))


@pytest.mark.parametrize("scale", [1e-3, 0.1, 50.0])
def test_running_stats_at_any_scale(scale: float) -> None:
    """Quantiles are right to two of the 5000 bins over the range, also after the range has grown."""
    values = np.random.default_rng(0).normal(2 * scale, scale, size=(4000, 2))
    running = RunningStats()
    for batch in np.split(values, 8):
        running.update(batch)
    stats, exact = running.stats(), exact_stats(values)
    np.testing.assert_allclose(stats.mean, exact.mean, rtol=1e-9)
    np.testing.assert_allclose(stats.std, exact.std, rtol=1e-6)
    slack = 16 * float(np.ptp(values, axis=0).max()) / 5000
    np.testing.assert_allclose(stats.q01, exact.q01, atol=slack)
    np.testing.assert_allclose(stats.q99, exact.q99, atol=slack)


def test_resize_with_pad_keeps_proportions_and_centres() -> None:
    image = np.full((20, 40, 3), 200, np.uint8)
    resized = resize_with_pad(image, 21, 20)
    assert resized.shape == (21, 20, 3)
    assert (resized[5:15] == 200).all()  # 10 rows of 21: 5 above, 6 below
    assert not resized[:5].any()
    assert not resized[15:].any()


def test_resize_with_pad_returns_what_fits_and_refuses_floats() -> None:
    same = np.zeros((2, 3, 40, 30, 3), np.uint8)
    assert resize_with_pad(same, 40, 30) is same
    assert resize_with_pad(same, 20, 20).shape == (2, 3, 20, 20, 3)
    with pytest.raises(ValueError, match="uint8"):
        resize_with_pad(same.astype(np.float32), 32, 32)


def test_weighted_quantiles_as_drawn_in_the_docstring() -> None:
    values = np.array([2.0, 1.0, 3.0])
    assert weighted_quantiles(values, np.ones(3), (0.0, 0.25, 0.5, 1.0)).tolist() == [1, 1.5, 2, 3]
    assert weighted_quantiles(values, np.array([2.0, 1.0, 1.0]), (0.0, 1 / 3, 2 / 3, 1.0)).tolist() == [1, 2, 2.5, 3]


def test_weighted_statistics() -> None:
    """Equal weights change nothing; whole ones count like repetitions."""
    rng = np.random.default_rng(0)
    vectors, times = rng.normal(size=(4000, 3)), rng.integers(1, 5, 4000)
    plain, equal = exact_stats(vectors), exact_stats(vectors, np.full(4000, 0.3))
    repeated, weighted = exact_stats(np.repeat(vectors, times, axis=0)), exact_stats(vectors, times.astype(float))
    for name in ("mean", "std", "q01", "q99"):
        np.testing.assert_allclose(getattr(equal, name), getattr(plain, name), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            getattr(weighted, name), getattr(repeated, name), atol=1e-9 if name in ("mean", "std") else 0.02
        )


def test_weighted_running_statistics() -> None:
    """A batch that counts thrice is one that comes three times."""
    first, second = np.random.default_rng(0).normal(size=(2, 500, 3))
    weighted, repeated = RunningStats(), RunningStats()
    weighted.update(first)
    weighted.update(second + 1, weight=3.0)
    repeated.update(first)
    for _ in range(3):
        repeated.update(second + 1)
    for name in ("mean", "std", "q01", "q99"):
        np.testing.assert_allclose(getattr(weighted.stats(), name), getattr(repeated.stats(), name), rtol=1e-9)
