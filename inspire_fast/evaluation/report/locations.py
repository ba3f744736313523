"""Accuracy of locations: points, boxes and traces against the truth, beside two baselines, with intervals by episode.

    iou                  intersection over union of boxes; `iou_50`: share of at least 0.5 (RefCOCO's measure)
    in_box, in_mask      the point lies in the true box, on the thing's visible pixels (Where2Place's measure)
    error                distance of points, as a fraction of the picture's longer side; `error_px`: in its pixels
    rmse, frechet, dtw   distances of traces (root mean square point by point; discrete Frechet distance, Eiter and
                         Mannila 1994; dynamic time warping, per point), as the same fraction
    end_error            distance of the last points, likewise; `end_error_px`: in pixels

A figure alone proves little, because things and paths have usual places. So each stands beside the same measure of two
other answers: the mean of the training truths about things of the same name, which sees no picture, and the model's own
answer to the same picture under another instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["point", "box", "trace"]
KINDS: tuple[Kind, ...] = ("point", "box", "trace")
_SHAPES: Mapping[Kind, tuple[int, ...]] = {"point": (2,), "box": (4,), "trace": (-1, 2)}
RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Located:
    """One answer and its truth, fractions of the picture.

    Attributes:
        kind: what both are: a point `[2]` (y, x), a box `[4]` (y0, x0, y1, x1) or a trace `[k, 2]`.
        episode: intervals take the answers of one episode as one observation.
        truth, answer: of that kind; the answer is None if the model gave none that is well formed.
        shuffled: answer to the same picture under another episode's instruction; None: not asked.
        picture_hw: height and width of the picture that places are fractions of, pixels.
        box: true box of a point's thing, if it is known.
        mask: its visible pixels, bool `[h, w]`, if they are known.
        target: phrase.
    """

    kind: Kind
    episode: Hashable
    truth: np.ndarray
    answer: np.ndarray | None
    picture_hw: tuple[int, int]
    shuffled: np.ndarray | None = None
    box: np.ndarray | None = None
    mask: np.ndarray | None = None
    target: str = ""

    def __post_init__(self) -> None:
        for name in ("truth", "answer", "shuffled"):
            value = getattr(self, name)
            shape = _SHAPES[self.kind]
            fits = value is None or (value.ndim == len(shape) and value.shape[-1] == shape[-1] and len(value))
            if not fits or (value is not None and not np.isfinite(value).all()):
                raise ValueError(
                    f"Located.{name} of kind {self.kind!r} must be finite and have the shape "
                    f"{str(shape).replace('-1', 'k')}; got {None if value is None else value.shape}: {value!r}."
                )
        if self.kind == "trace" and self.answer is not None and self.answer.shape != self.truth.shape:
            raise ValueError(
                f"A trace of {len(self.answer)} points cannot be compared with one of {len(self.truth)}; ask for as "
                "many as the labels have."
            )


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure over all answers.

    Attributes:
        name: see the module's docstring.
        value: mean over the answers; of the model. Distances leave out missing answers; shares count them as wrong.
        low, high: 95 % interval by a bootstrap of episodes; None with fewer than two.
        mean_baseline: the same of the training means; None without any.
        shuffled_baseline: the same of the answers to other instructions; None if none were asked.
        answers, episodes: numbers that went in.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    mean_baseline: float | None
    shuffled_baseline: float | None
    answers: int
    episodes: int

    def __str__(self) -> str:
        """One line of a table in plain text."""

        def written(value: float | None) -> str:
            return "      -" if value is None else f"{value:7.3f}"

        return (
            f"{self.name:13} {self.value:7.3f} ({written(self.low)} ..{written(self.high)})   "
            f"mean{written(self.mean_baseline)}   other instruction{written(self.shuffled_baseline)}   "
            f"{self.answers} answers, {self.episodes} episodes"
        )


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes (y0, x0, y1, x1); 0 if they do not meet or a corner is swapped."""
    edges = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    areas = [float(np.prod(np.clip(box[2:] - box[:2], 0, None))) for box in (first, second)]
    shared = float(np.prod(np.clip(edges, 0, None)))
    union = sum(areas) - shared
    return shared / union if union > 0 else 0.0


def point_in_box(point: np.ndarray, box: np.ndarray) -> bool:
    """Whether a point (y, x) lies in a box (y0, x0, y1, x1)."""
    return bool((box[:2] <= point).all() and (point <= box[2:]).all())


def point_in_mask(point: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a point (y, x), fractions, lies on a pixel of a mask `[h, w]`."""
    y, x = (min(int(at * size), size - 1) for at, size in zip(point.tolist(), mask.shape, strict=True))
    return bool(mask[y, x])


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """Discrete Frechet distance of two paths `[k, 2]`: the shortest leash with which both can be walked forward."""
    apart = _distances(first, second)
    reach = np.full(apart.shape, np.inf)
    for i, j in np.ndindex(*apart.shape):
        before = 0.0 if i == j == 0 else _before(reach, i, j)
        reach[i, j] = max(before, apart[i, j])
    return float(reach[-1, -1])


def dynamic_time_warping(first: np.ndarray, second: np.ndarray) -> float:
    """Least sum of distances over alignments of two paths `[k, 2]` that go forward, divided by the longer one's k."""
    apart = _distances(first, second)
    total = np.full(apart.shape, np.inf)
    for i, j in np.ndindex(*apart.shape):
        total[i, j] = apart[i, j] + (0.0 if i == j == 0 else _before(total, i, j))
    return float(total[-1, -1]) / max(apart.shape)


def root_mean_square(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square distance of the points of two paths `[k, 2]`, one by one."""
    return float(np.sqrt(((first - second) ** 2).sum(axis=1).mean()))


Means = Mapping[str, np.ndarray]
"""Target -> mean of its truths; "" -> mean of all of them, for targets that are not among the others."""


def training_means(truths: Iterable[tuple[str, np.ndarray]]) -> Means:
    """The answers that see no picture: means of the training truths, (target, place). Empty without any."""
    by_target: dict[str, list[np.ndarray]] = {}
    for target, truth in truths:
        for name in {target, ""}:
            by_target.setdefault(name, []).append(truth)
    return {target: np.mean(np.stack(places), axis=0) for target, places in by_target.items()}


def measures(rows: Sequence[Located], means: Means | None = None, *, seed: int = 0) -> list[Measure]:
    """All measures of answers of one kind.

    Args:
        rows: the answers.
        means: `training_means` of the truths that the model was trained on.
        seed: of the bootstrap.

    Raises:
        ValueError: answers of several kinds.
    """
    if not rows:
        return []
    kinds = {row.kind for row in rows}
    if len(kinds) > 1:
        raise ValueError(f"Measures are of one kind of location at a time; got {sorted(kinds)}.")
    found = [_measure(name, of, rows, means or {}, seed) for name, of in _OF_KIND[rows[0].kind].items()]
    return [measure for measure in found if measure is not None]


Value = Callable[[Located, np.ndarray], float | None]
"""A row and an answer -> the measure; None where the row lacks what it needs."""


def _measure(name: str, value: Value, rows: Sequence[Located], means: Means, seed: int) -> Measure | None:
    known = [row for row in rows if value(row, row.truth) is not None]
    missing = 0.0 if name in _SHARES else None
    given = [(row.episode, missing if row.answer is None else value(row, row.answer)) for row in known]
    scored = [(episode, score) for episode, score in given if score is not None]
    if not scored:
        return None
    low, high = _interval(scored, seed)
    guessed = [(row, means.get(row.target, means[""])) for row in known] if means else []
    of_mean = [s for row, guess in guessed if (s := value(row, guess)) is not None]
    shuffled = [s for row in known if row.shuffled is not None and (s := value(row, row.shuffled)) is not None]
    return Measure(
        name=name,
        value=float(np.mean([score for _, score in scored])),
        low=low,
        high=high,
        mean_baseline=float(np.mean(of_mean)) if of_mean else None,
        shuffled_baseline=float(np.mean(shuffled)) if shuffled else None,
        answers=len(scored),
        episodes=len({episode for episode, _ in scored}),
    )


def _interval(scored: Sequence[tuple[Hashable, float]], seed: int) -> tuple[float | None, float | None]:
    """95 % interval of the mean, drawing whole episodes: answers of one episode are alike."""
    by_episode: dict[Hashable, list[float]] = {}
    for episode, score in scored:
        by_episode.setdefault(episode, []).append(score)
    if len(by_episode) < 2:
        return None, None
    sums = np.array([sum(scores) for scores in by_episode.values()])
    counts = np.array([len(scores) for scores in by_episode.values()])
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975]).tolist()
    return low, high


def _pixels(row: Located, places: np.ndarray) -> np.ndarray:
    """Fractions `[..., 2]` in pixels of the recorded picture."""
    return places * np.array(row.picture_hw)


def _of_longer_side(of: Callable[[np.ndarray, np.ndarray], float]) -> Value:
    """A distance of two paths or points in pixels, as a fraction of the picture's longer side."""
    return lambda row, answer: of(_pixels(row, row.truth), _pixels(row, answer)) / max(row.picture_hw)


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.linalg.norm(first - second))


def _ends_apart(first: np.ndarray, second: np.ndarray) -> float:
    return _apart(first[-1], second[-1])


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.linalg.norm(first[:, None] - second[None], axis=-1)


def _before(table: np.ndarray, i: int, j: int) -> float:
    """The smallest entry from which a walk forward reaches `(i, j)`."""
    return min(
        table[i - 1, j] if i else np.inf, table[i, j - 1] if j else np.inf, table[i - 1, j - 1] if i and j else np.inf
    )


_OF_KIND: Mapping[Kind, Mapping[str, Value]] = {
    "point": {
        "in_mask": lambda row, answer: None if row.mask is None else float(point_in_mask(answer, row.mask)),
        "in_box": lambda row, answer: None if row.box is None else float(point_in_box(answer, row.box)),
        "error": _of_longer_side(_apart),
        "error_px": lambda row, answer: _apart(_pixels(row, row.truth), _pixels(row, answer)),
    },
    "box": {
        "iou": lambda row, answer: iou(row.truth, answer),
        "iou_50": lambda row, answer: float(iou(row.truth, answer) >= 0.5),
    },
    "trace": {
        "rmse": _of_longer_side(root_mean_square),
        "frechet": _of_longer_side(frechet),
        "dtw": _of_longer_side(dynamic_time_warping),
        "end_error": _of_longer_side(_ends_apart),
        "end_error_px": lambda row, answer: _ends_apart(_pixels(row, row.truth), _pixels(row, answer)),
    },
}
_SHARES = frozenset({"in_mask", "in_box", "iou", "iou_50"})
