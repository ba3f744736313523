"""A trained network's points, boxes and traces in new episodes; a part of `locations.py`.

The scripted expert acts in drawn scenes that no recording has (another seed); every tenth picture is asked about.
Masks, boxes and paths come from the simulator. Baselines: see `inspire_fast/evaluation/report/locations.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
import json
from pathlib import Path

import numpy as np

from inspire_fast.core.types import Sample
from inspire_fast.data.drawing import Mark, draw_marks, target_colour
from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.segmentation import visible_mask
from inspire_fast.evaluation.report.held_out_locations import locate, measures_by_kind
from inspire_fast.evaluation.report.locations import Kind, Located, Means, Measure
from inspire_fast.labeling.demonstrations.record import RecordSpec, record_episode
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.robots.libero import LIBERO

SEED, CHUNK, SIDE = 101, 10, 112  # the recordings have the seeds 5 and 7
KINDS: dict[Kind, tuple[str, str]] = {  # the measure of each kind, and its name in the figures
    "point": ("in_mask", "point_in_mask"),
    "box": ("iou", "box_iou"),
    "trace": ("end_error", "trace_end_error_fraction"),
}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One picture: the sample, its episode, and target -> visible pixels, bool `[h, w]`."""

    sample: Sample
    episode: tuple[int, int]
    masks: dict[str, np.ndarray]


def watch(suite: str, task: int, episodes: int) -> Iterator[Seen]:
    """Every tenth picture of the expert's episodes, from the simulator."""
    settings = LiberoSettings(camera_hw=(SIDE, SIDE), seed=SEED, initial_states="randomized", render_quality="reduced")
    spec = RecordSpec(tasks=((suite, task),), episodes=episodes, chunk=CHUNK, max_steps=400, seed=SEED, boxes=True)
    with closing(LiberoEnvironment(suite, task, settings)) as environment:
        shapes: list[np.ndarray] = []
        segment = environment.segmented

        def noted() -> np.ndarray:
            shapes.append(segment())
            return shapes[-1]

        environment.segmented = noted
        for episode in range(episodes):
            shapes.clear()
            recorded = record_episode(environment, spec, episode=episode, seed=SEED)
            model = environment.simulator.sim.model._model  # noqa: SLF001  (mujoco's own)
            for number, step in enumerate(range(0, len(recorded), CHUNK)):
                pictures = {key: images[number] for key, images in recorded.images.items()}
                native = {**pictures, "observation/state": recorded.state[step], "prompt": recorded.prompt}
                found = {t.phrase: visible_mask(model, shapes[number], t) for t in environment.targets}
                yield Seen(
                    sample=Sample(observation=LIBERO.canonical(native), facts=recorded.facts(step), robot="libero"),
                    episode=(task, episode),
                    masks={phrase: mask for phrase, mask in found.items() if mask is not None},
                )


def training_means(checkpoint: Path) -> dict[Kind, Means]:
    """Means of the places that the network was trained on, as `evaluate_held_out.py` stored them."""
    file = checkpoint / "training_means.json"
    if not file.is_file():
        raise SystemExit(f"{file} does not exist: `uv run scripts/evaluate_held_out.py st4vla_ground_small` writes it.")
    stored = json.loads(file.read_text(encoding="utf-8"))
    return {kind: {name: np.array(at) for name, at in one.items()} for kind, one in stored.items()}


def answered(policy: InspirePolicy, seen: Sequence[Seen]) -> list[list[Located]]:
    """The network's answers per picture, points with their thing's visible pixels."""
    found = locate(policy.decoder, policy.inputs, [one.sample for one in seen], [one.episode for one in seen])
    return [
        [replace(row, mask=one.masks.get(row.target)) if row.kind == "point" else row for row in rows]
        for one, rows in zip(seen, found, strict=True)
    ]


def report(title: str, rows: Sequence[Located], trained: dict[Kind, Means], prefix: str) -> dict[str, float | None]:
    """Prints all measures; returns the figures of the last line."""
    found = measures_by_kind(rows, trained)
    print("\n".join([f"  {title}", *(f"  {kind:5} {one}" for kind, measures in found.items() for one in measures)]))
    return figures(found, prefix)


def figures(measures: dict[Kind, list[Measure]], prefix: str = "") -> dict[str, float | None]:
    """The figures of the last line: each measure, its interval and its baselines."""
    row: dict[str, float | None] = {}
    for kind, (name, key) in KINDS.items():
        one = next((m for m in measures.get(kind, ()) if m.name == name), None)
        values = {
            "": one and one.value,
            "_low": one and one.low,
            "_high": one and one.high,
            "_mean_baseline": one and one.mean_baseline,
            "_shuffled_baseline": one and one.shuffled_baseline,
        }
        row |= {f"{prefix}{key}{n}": None if v is None else round(v, 4) for n, v in values.items()}
    return row


def drawn(seen: Sequence[Seen], rows: Sequence[Sequence[Located]], columns: int = 6) -> np.ndarray:
    """Pictures with truth (full lines) and answer (broken lines), `columns` in a row."""
    tiles = []
    for one, found in zip(seen, rows, strict=True):
        names = list(dict.fromkeys(row.target for row in found if row.target))
        marks = [
            Mark(place=place, colour=target_colour(names.index(row.target) if row.target else len(names)), answer=own)
            for row in found
            for place, own in ((row.truth, False), (row.answer, True))
            if place is not None
        ]
        tiles.append(draw_marks(one.sample.observation.images["base_0_rgb"], marks, scale=3))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    lines = [np.concatenate(tiles[n : n + columns], axis=1) for n in range(0, len(tiles), columns)]
    return np.concatenate(lines)


def measure(
    checkpoint: Path, seen_tasks: Sequence[int], unseen_tasks: Sequence[int], episodes: int
) -> tuple[dict[str, float | None], np.ndarray]:
    """Figures of the tasks that the network was trained on and of others, and a drawing of the former."""
    policy, trained = InspirePolicy.load(checkpoint), training_means(checkpoint)
    row = dict[str, float | None]()
    picture = np.zeros((1, 1, 3), np.uint8)
    for prefix, tasks in (("", seen_tasks), ("unseen_", unseen_tasks)):
        seen = [one for task in tasks for one in watch("libero_object", task, episodes)]
        rows = answered(policy, seen)
        flat = [r for one in rows for r in one]
        print(f"{prefix or 'seen_'}tasks {list(tasks)}: {len(seen)} pictures of {episodes} new episodes each")
        row |= report("all answers", flat, trained, prefix)
        # The instructions of a suite may all name the basket: there, another instruction asks the same.
        named = [{target.phrase for target in one.sample.facts.targets} for one in seen if one.sample.facts]
        if len(tasks) > 1:
            everywhere = set.intersection(*named)
            chosen = [r for r in flat if r.kind != "trace" and r.target not in everywhere]
            more = report("things that not all name", chosen, trained, f"{prefix}chosen_")
            row |= {name: value for name, value in more.items() if value is not None}
        if not prefix:
            picture = drawn(seen[:: max(len(seen) // 24, 1)], rows[:: max(len(seen) // 24, 1)])
    return row, picture
