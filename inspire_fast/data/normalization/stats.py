"""openpi's normalisation, and its statistics on disk.

z-score `(x - mean) / (std + 1e-6)`; quantiles `(x - q01) / (q99 - q01 + 1e-6) * 2 - 1` (pi0-FAST). The functions are
pure and answer in the statistics' precision (float64 as stored).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.console import command_line
from inspire_fast.core.files import read_text, write_json

_EPSILON = 1e-6
FILE_NAME = "norm_stats.json"


@dataclass(frozen=True, kw_only=True)
class NormStats:
    """Statistics of one vector quantity, each `[d]`, in its own units.

    Attributes:
        mean: mean.
        std: standard deviation.
        q01: 1 % quantile; None if only z-scores are needed.
        q99: 99 % quantile; likewise.
    """

    mean: np.ndarray
    std: np.ndarray
    q01: np.ndarray | None = None
    q99: np.ndarray | None = None

    def __post_init__(self) -> None:
        shapes = {name: v.shape for name in ("mean", "std", "q01", "q99") if (v := getattr(self, name)) is not None}
        if len(set(shapes.values())) != 1 or self.mean.ndim != 1:
            raise ValueError(f"NormStats need vectors of one length; got {shapes}.")
        if (self.q01 is None) != (self.q99 is None):
            raise ValueError("NormStats need both quantiles or neither.")
        for name in shapes:
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"NormStats.{name} holds NaN or infinity: {getattr(self, name)}.")

    def __len__(self) -> int:
        return len(self.mean)


def normalize_zscore(x: np.ndarray, stats: NormStats) -> np.ndarray:
    """`[..., d]` -> `[..., d]`; if x has fewer dimensions than the statistics, their first ones are used."""
    d = _narrower(x, stats)
    return (x - stats.mean[:d]) / (stats.std[:d] + _EPSILON)


def unnormalize_zscore(x: np.ndarray, stats: NormStats) -> np.ndarray:
    """The inverse of `normalize_zscore`; padding beyond the statistics counts as mean 0 and deviation 1."""
    pad = _padding(x, stats)
    mean, std = np.pad(stats.mean, (0, pad)), np.pad(stats.std, (0, pad), constant_values=1.0)
    return x * (std + _EPSILON) + mean


def normalize_quantile(x: np.ndarray, stats: NormStats) -> np.ndarray:
    """`[..., d]` -> `[..., d]`, the 1 % and 99 % quantiles at -1 and 1; cut as in `normalize_zscore`. Not clipped."""
    low, high = _quantiles(stats)
    d = _narrower(x, stats)
    return (x - low[:d]) / (high[:d] - low[:d] + _EPSILON) * 2.0 - 1.0


def unnormalize_quantile(x: np.ndarray, stats: NormStats) -> np.ndarray:
    """The inverse of `normalize_quantile`; padding beyond the statistics stays as it is."""
    low, high = _quantiles(stats)
    _padding(x, stats)
    d = len(stats)
    inner = (x[..., :d] + 1.0) / 2.0 * (high - low + _EPSILON) + low
    return np.concatenate([inner, x[..., d:]], axis=-1)


def exact_stats(values: np.ndarray, weights: np.ndarray | None = None) -> NormStats:
    """Statistics of vectors `[..., d]` that are all in memory; quantiles are exact (linear interpolation).

    Args:
        values: the vectors.
        weights: `[...]`, how often each counts; None: all alike.

    Raises:
        ValueError: fewer than two vectors, NaN or infinity.
    """
    vectors = values.reshape(-1, values.shape[-1]).astype(np.float64)
    if len(vectors) < 2:
        raise ValueError(f"Statistics need at least 2 vectors; got {len(vectors)}.")
    if not np.isfinite(vectors).all():
        raise ValueError(f"Statistics of NaN or infinity are refused (dimensions {bad_dims(vectors)}).")
    if weights is None:
        q01, q99 = np.quantile(vectors, [0.01, 0.99], axis=0)
        return NormStats(mean=vectors.mean(axis=0), std=vectors.std(axis=0), q01=q01, q99=q99)
    shares = weights.reshape(-1) / weights.sum()
    mean = shares @ vectors
    q01, q99 = np.stack([weighted_quantiles(column, shares, (0.01, 0.99)) for column in vectors.T], axis=1)
    return NormStats(mean=mean, std=np.sqrt(shares @ (vectors - mean) ** 2), q01=q01, q99=q99)


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, fractions: Sequence[float]) -> np.ndarray:
    """Quantiles `[q]` of weighted values `[n]`; numpy's (linear interpolation) where all weights are equal.

    The place of the i-th smallest value is the weight before it over the weight before the largest one:

        values   1    2    3         equal weights: 0, 1/2, 1
        weights  1    2    1         places         0, 1/3, 1
    """
    order = np.argsort(values, kind="stable")
    before = np.cumsum(weights[order])
    before = np.concatenate([[0.0], before[:-1]])
    return np.interp(fractions, before / before[-1], values[order])


def bad_dims(vectors: np.ndarray) -> list[int]:
    """Dimensions of `[n, d]` that hold NaN or infinity."""
    return np.flatnonzero(~np.isfinite(vectors).all(axis=0)).tolist()


def save_norm_stats(path: Path, stats: Mapping[str, NormStats], *, made_from: Mapping[str, Any] | None = None) -> None:
    """Writes openpi's `norm_stats.json` atomically.

    Args:
        path: the file or its folder.
        stats: quantity -> its statistics.
        made_from: what they are of (JSON values), kept beside openpi's object, which openpi ignores.
    """
    path = _file(path)
    names = ("mean", "std", "q01", "q99")
    content = {
        key: {name: None if getattr(s, name) is None else np.asarray(getattr(s, name)).tolist() for name in names}
        for key, s in stats.items()
    }
    write_json(path, {"norm_stats": content, **({} if made_from is None else {"made_from": dict(made_from)})})


def load_made_from(path: Path) -> dict[str, Any] | None:
    """What the statistics of a readable `norm_stats.json` are of; None if it does not say so, as openpi's do not."""
    return json.loads(_file(path).read_text(encoding="utf-8")).get("made_from")


def load_norm_stats(path: Path, *, config_name: str = "<config>") -> dict[str, NormStats]:
    """Reads openpi's `norm_stats.json`.

    Args:
        path: the file or its folder.
        config_name: for the message when it is missing.

    Raises:
        FileNotFoundError: no such file; the message says how to make it.
        ValueError: not the format, or NaN inside; names the file and the key.
    """
    path = _file(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"Normalisation statistics not found: {path}. "
            f"Compute them with `{command_line('compute_norm_stats')} {config_name}`."
        )
    try:
        content = json.loads(read_text(path))["norm_stats"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not openpi's format, a JSON object with the key `norm_stats`: {error!r}."
        ) from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} is not openpi's format: `norm_stats` is {content!r:.60}, not an object with the statistics of "
            "each quantity."
        )
    return {key: _parse(path, key, entry) for key, entry in content.items()}


def _parse(path: Path, key: str, entry: Mapping[str, list[float] | None]) -> NormStats:
    try:
        arrays = {name: np.array(entry[name], np.float64) for name in ("mean", "std")}
        arrays |= {name: np.array(v, np.float64) for name in ("q01", "q99") if (v := entry.get(name)) is not None}
        return NormStats(**arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: the statistics of {key!r} are unusable: {error}") from error


def _file(path: Path) -> Path:
    return path if path.suffix == ".json" else path / FILE_NAME


def _narrower(x: np.ndarray, stats: NormStats) -> int:
    if x.shape[-1] > len(stats):
        raise ValueError(f"Cannot normalise {x.shape[-1]} dimensions with statistics of {len(stats)}.")
    return x.shape[-1]


def _padding(x: np.ndarray, stats: NormStats) -> int:
    if x.shape[-1] < len(stats):
        raise ValueError(f"Cannot unnormalise {x.shape[-1]} dimensions with statistics of {len(stats)}.")
    return x.shape[-1] - len(stats)


def _quantiles(stats: NormStats) -> tuple[np.ndarray, np.ndarray]:
    if stats.q01 is None or stats.q99 is None:
        raise ValueError("These statistics have no quantiles; recompute them, or normalise by z-score.")
    return stats.q01, stats.q99
