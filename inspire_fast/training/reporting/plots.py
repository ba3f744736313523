"""Plots of a run: camera views as the network sees them, and held-out samples with decoded answers and actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from inspire_fast.training.reporting.held_out import Example

if TYPE_CHECKING:  # importing matplotlib takes two seconds of every command's start
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RIGHT, _WRONG = "#1a7f37", "#c62828"


def draw_views(images: Mapping[str, np.ndarray], title: str) -> np.ndarray:
    """Camera images after augmentation, one row per sample.

    Args:
        images: camera -> `[b, h, w, 3]`, uint8, or float in [-1, 1].
        title: text above them.

    Returns:
        uint8 `[h, w, 3]`.
    """
    rows = len(next(iter(images.values())))
    figure = _figure(2.6 * len(images), 2.6 * rows + 0.6)
    figure.suptitle(title)
    axes = figure.subplots(rows, len(images), squeeze=False)
    for column, (camera, batch) in enumerate(images.items()):
        for row, image in enumerate(batch):
            shown = image if image.dtype == np.uint8 else np.clip((image + 1) / 2, 0, 1)
            axes[row, column].imshow(shown)
            axes[row, column].set_axis_off()
        axes[0, column].set_title(camera, fontsize=9)
    return _drawn(figure)


def draw_examples(examples: Sequence[Example], title: str) -> np.ndarray:
    """Held-out samples, one row each: first camera, dialogue with the model's answers, true and decoded actions.

    True answers are green, wrong ones red with the truth in brackets. Lines are decoded actions, dots the dataset's, in
    native units; every dimension has its own scale.

    Returns:
        uint8 `[h, w, 3]`.
    """
    figure = _figure(12, 2.9 * len(examples) + 0.5)
    figure.suptitle(title)
    axes = figure.subplots(len(examples), 3, squeeze=False, width_ratios=[1, 1.6, 2.2])
    for (camera, words, curves), example in zip(axes, examples, strict=True):
        camera.imshow(next(iter(example.images.values())))
        camera.set_axis_off()
        words.set_axis_off()
        _write(words, example)
        _plot(curves, example)
    return _drawn(figure)


def _write(axes: Axes, example: Example) -> None:
    lines = [(line, "black") for line in textwrap.wrap(example.instruction, 44)]
    for question, target, truth, answer, probability in example.dialogue:
        note = "" if answer == truth else f" [{truth}]"
        lines.append((f"{question} of {target}:", "#555555"))
        lines.append((f"   {answer} ({probability:.2f}){note}", _RIGHT if answer == truth else _WRONG))
    if example.decoded is None:
        lines.append(("no well-formed chunk", _WRONG))
    for place, (line, colour) in enumerate(lines):
        axes.text(0, 1 - (place + 0.5) / max(len(lines), 8), line, color=colour, fontsize=9, va="center", wrap=True)


def _plot(axes: Axes, example: Example) -> None:
    dims = example.actions.shape[1]
    spread = np.abs(example.actions).max(axis=0)
    if example.decoded is not None:
        spread = np.maximum(spread, np.abs(example.decoded).max(axis=0))
    for dim in range(dims):
        colour, scale = f"C{dim}", 0.45 / max(spread[dim], 1e-9)
        axes.axhline(-dim, color="#dddddd", linewidth=0.8, zorder=0)
        axes.plot(example.actions[:, dim] * scale - dim, "o", color=colour, markersize=3)
        if example.decoded is not None:
            axes.plot(example.decoded[:, dim] * scale - dim, color=colour, linewidth=1.4)
    axes.set_yticks([-d for d in range(dims)], [f"{d}: ±{spread[d]:.2g}" for d in range(dims)], fontsize=7)
    axes.set_xlabel("action of the chunk", fontsize=8)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _drawn(figure: Figure) -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
