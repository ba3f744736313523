"""Page of findings: the worst episodes of each measure, with their states over time and the picture at that frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.figure import Figure
import numpy as np

from inspire_fast.core.files import write_text
from inspire_fast.core.html import Markup, document, element, figure, image, note, plot, png, table
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.quality.findings import Finding, describe_lag
from inspire_fast.data.quality.measures import Measures, Numbers

TITLES = {
    "action": "Actions far from the others",
    "chatter": "Grippers that chatter",
    "duplicate": "Duplicated episodes",
    "frozen_s": "Pictures that stay the same while the arm moves",
    "idle_s": "Idle stretches",
    "jerk": "Rough motion",
    "lag": "States that follow their actions late or early",
    "short": "Short episodes",
    "step": "Jumps of the state",
}
SHOWN = 3  # episodes with a drawing per measure


def write_page(
    path: Path, dataset: LeRobotDataset, numbers: Numbers, measures: Measures, findings: Sequence[Finding]
) -> None:
    """Writes the page; pictures are of the dataset's first camera."""
    episodes = sorted({finding.episode for finding in findings})
    content = [
        note(f"{len(findings)} findings in {len(episodes)} of {len(measures.episodes)} episodes of {dataset.root}."),
        note(describe_lag(measures.lag, dataset.fps)),
        *(
            part
            for name, group in groupby(findings, lambda f: f.measure)
            for part in _section(name, [*group], dataset, numbers)
        ),
        element("h2", "For exclude_episodes"),
        note("Look first: an idle stretch or a jump may be part of the task."),
        element("pre", " ".join(map(str, episodes)) or "none"),
    ]
    write_text(path, document("Quality of a dataset", *content))


def _section(name: str, findings: Sequence[Finding], dataset: LeRobotDataset, numbers: Numbers) -> Iterator[Markup]:
    yield element("h2", TITLES[name])
    yield table(("episode", "frame", "seen"), [(f.episode, f.frame, f.text) for f in findings], numbers=(0, 1))
    for finding in findings[:SHOWN]:
        yield _drawn(finding, dataset, numbers)


def _drawn(finding: Finding, dataset: LeRobotDataset, numbers: Numbers) -> Markup:
    """State and actions over time, and the first camera's picture at the finding's frame."""
    episode = dataset.episode(finding.episode)
    columns = dataset.columns([numbers.state, numbers.actions])
    drawn = Figure(figsize=(7, 2.6), layout="constrained")
    for axes, name in zip(drawn.subplots(1, 2), (numbers.state, numbers.actions), strict=True):
        values = columns[name][episode.start : episode.stop].reshape(episode.length, -1)
        axes.plot(np.arange(episode.length) / dataset.fps, values, linewidth=0.8)
        axes.axvline(finding.frame / dataset.fps, color="black", linewidth=0.8, linestyle=":")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("s", fontsize=8)
        axes.tick_params(labelsize=7)
    cameras = [name for name, feature in dataset.features.items() if feature.visual][:1]
    pictures = [image(png(dataset.row(episode.start + finding.frame, [name])[name]), height=180) for name in cameras]
    caption = f"episode {finding.episode}, frame {finding.frame}: {finding.text}"
    return figure(caption, plot(drawn), *pictures)
