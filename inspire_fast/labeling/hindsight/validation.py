"""Agreement of labels by hindsight with the simulator's truth, on episodes of the scripted expert.

Physics only, no images. The simulator's truth is the vector to a body's origin or a region's centre; hindsight knows
the points at which the fingers closed and opened. Both are turned into the paper's answer, and the answers compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
import importlib.resources
import json
from typing import Any

import numpy as np

from inspire_fast.core.types import TargetFacts
from inspire_fast.dialogue.questions.direction import Direction
from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.controller import Variation
from inspire_fast.envs.libero.experts.registry import carry_out
from inspire_fast.labeling.hindsight.assignment import HindsightOptions
from inspire_fast.labeling.hindsight.label import hindsight
from inspire_fast.labeling.hindsight.manipulations import parse_instruction
from inspire_fast.robots.libero import LIBERO

RESULT_FILE = "agreement.json"
TASKS: tuple[tuple[str, int], ...] = (
    *(("libero_spatial", task) for task in (0, 2, 7)),
    *(("libero_object", task) for task in (0, 4, 6, 9)),
    *(("libero_goal", task) for task in (0, 1, 4, 7, 8)),
    *(("libero_10", task) for task in (0, 1, 7)),
    *(("libero_90", task) for task in (0, 1, 7, 11, 20, 28, 46, 55, 58, 60, 72)),
)
_EXPERT = HindsightOptions(in_word_order=True)  # the expert grips in the order of the words
_MAX_STEPS = 400
_CLOSE_M = 0.01
_MOVED_M = 0.01  # the grasp check fails on thin rims; a thing that has moved this far was gripped, too


@dataclass(frozen=True, kw_only=True)
class SimulatedEpisode:
    """An expert's episode with the truth. Letters: `n` steps, `k` targets; row i is the instant before action i."""

    suite: str
    task: int
    prompt: str
    phrases: tuple[str, ...]
    state: np.ndarray
    offset_m: np.ndarray
    grasped: np.ndarray
    success: bool

    @property
    def first_contact(self) -> int:
        """The first step at which something is gripped or has moved, according to the simulator."""
        points = self.state[:, None, :3] + self.offset_m
        touched = self.grasped.any(axis=1) | (np.abs(points - points[:1]).max(axis=(1, 2)) > _MOVED_M)
        return int(np.argmax(touched)) if touched.any() else len(touched)

    def truth(self, step: int, target: int) -> TargetFacts:
        """The simulator's facts about a target."""
        return TargetFacts(
            phrase=self.phrases[target],
            offset_m=self.offset_m[step, target],
            grasped=bool(self.grasped[step, target]),
        )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both answers about one target in one frame; None if hindsight gives none."""

    task: str
    role: str  # thing, place
    phase: str  # before, holding, after the grasp
    truth: str
    hindsight: str | None
    apart_m: float  # between the two points


def simulate(suite: str, task: int, episodes: Iterable[int], *, seed: int = 0) -> Iterator[SimulatedEpisode]:
    """Episodes of one task from its fixed initial states, each until the expert's end, solved or not."""
    environment = LiberoEnvironment(suite, task, LiberoSettings(seed=seed))
    try:
        for episode in episodes:
            environment.reset(episode)
            states, facts, solved = [], [], False
            for action in carry_out(environment, np.random.default_rng([seed, episode]), Variation()):
                truth = environment.facts()
                if truth is None or len(states) == _MAX_STEPS:
                    break
                states.append(environment.state())
                facts.append(truth.targets)
                environment.step(action)
                solved = environment.success
            yield SimulatedEpisode(
                suite=suite,
                task=task,
                prompt=environment.prompt,
                phrases=tuple(target.phrase for target in facts[0]),
                state=np.array(states),
                offset_m=np.array([[target.offset_m for target in row] for row in facts]),
                grasped=np.array([[target.grasped for target in row] for row in facts]),
                success=solved,
            )
    finally:
        environment.close()


def compare(episode: SimulatedEpisode, options: HindsightOptions | None = None) -> list[Comparison]:
    """Both answers about every target in every frame; None for targets that hindsight refuses."""
    assert LIBERO.gripper is not None
    instruction = parse_instruction(episode.prompt)
    scenes, report = hindsight(
        instruction, episode.state, fps=LIBERO.control_hz, signal=LIBERO.gripper, options=options or _EXPERT
    )
    question = Direction(axes=LIBERO.axes)
    things = {phrase for m in instruction.manipulations for phrase in (m.thing, *m.riding)}
    first, stops = episode.first_contact, [grasp.stop for grasp in report.grasps if not grasp.empty]
    last = max((stop if stop is not None else len(scenes) for stop in stops), default=len(scenes))
    rows = []
    for step, scene in enumerate(scenes):
        known = {} if scene is None else {target.phrase: target for target in scene.targets}
        for number, phrase in enumerate(episode.phrases):
            truth, guess = episode.truth(step, number), known.get(phrase)
            rows.append(
                Comparison(
                    task=f"{episode.suite}:{episode.task}",
                    role="thing" if phrase in things else "place",
                    phase="before" if step < first else "holding" if step < last else "after",
                    truth=question.truth(truth),
                    hindsight=None if guess is None else question.truth(guess),
                    apart_m=0.0
                    if guess is None
                    else float(np.linalg.norm(truth.offset_in("base") - guess.offset_in("base"))),
                )
            )
    return rows


def summarize(rows: Sequence[Comparison], *, episodes: int, unsolved: int, tasks: int) -> dict[str, Any]:
    """Metrics over all comparisons: shares of equal answers among the frames that hindsight labels."""
    before = [row for row in rows if row.phase == "before"]
    wrong = [row for row in before if row.hindsight not in (None, row.truth)]
    return {
        "episodes": episodes,
        "episodes_unsolved_left_out": unsolved,
        "tasks": tasks,
        "before_grasp": _share(before),
        "by_phase": {phase: _share([r for r in rows if r.phase == phase]) for phase in ("before", "holding", "after")},
        "before_grasp_by_role": {role: _share([r for r in before if r.role == role]) for role in ("thing", "place")},
        "before_grasp_by_word": {word: _share([r for r in before if r.truth == word]) for word in _words(before)},
        "all_frames_by_word": {word: _share([r for r in rows if r.truth == word]) for word in _words(rows)},
        "before_grasp_by_task": {t: _share([r for r in before if r.task == t]) for t in sorted({r.task for r in rows})},
        "before_grasp_failures": _causes(wrong),
    }


def _share(rows: Sequence[Comparison]) -> dict[str, float | int | None]:
    labelled = [row for row in rows if row.hindsight is not None]
    equal = sum(row.hindsight == row.truth for row in labelled)
    return {
        "agreement": round(equal / len(labelled), 4) if labelled else None,
        "frames": len(labelled),
        "refused": len(rows) - len(labelled),
    }


def _words(rows: Sequence[Comparison]) -> list[str]:
    return sorted({row.truth for row in rows})


def _causes(wrong: Sequence[Comparison]) -> dict[str, Any]:
    """Disagreements grouped by cause; `apart_m` is the distance of the two points."""
    causes: dict[str, list[Comparison]] = {}
    for row in wrong:
        if "grasped" in (row.truth, row.hindsight):
            cause = "the fingers rest on the thing before the simulator's grasp check holds"
        elif row.apart_m < _CLOSE_M:
            cause = f"the points lie within {_CLOSE_M} m, on either side of where two axes are equally long"
        elif row.role == "place":
            cause = "a place is known by where the gripper opened: above it, and aside of its middle"
        else:
            cause = "a thing is known by where the fingers closed: not at its body's origin"
        causes.setdefault(cause, []).append(row)
    return {
        cause: {
            "frames": len(found),
            "median_apart_m": round(float(np.median([row.apart_m for row in found])), 4),
            "commonest": [
                f"{truth} taken for {guess}: {count}"
                for (truth, guess), count in Counter((r.truth, r.hindsight) for r in found).most_common(4)
            ],
        }
        for cause, found in sorted(causes.items(), key=lambda item: -len(item[1]))
    }


def measure(episodes_per_task: int, tasks: Sequence[tuple[str, int]] = TASKS) -> dict[str, Any]:
    """Simulates and compares: about 5 s of one core per episode. Unsolved episodes are left out."""
    rows, everything, solved, unsolved = [], [], 0, 0
    for suite, task in tasks:
        for episode in simulate(suite, task, range(episodes_per_task)):
            if not episode.success:
                unsolved += 1
                continue
            solved += 1
            rows += compare(episode)
            everything += compare(episode, replace(_EXPERT, near_m=0.0))
    result = summarize(rows, episodes=solved, unsolved=unsolved, tasks=len({row.task for row in rows}))
    result["before_grasp_with_near_frames"] = _share([row for row in everything if row.phase == "before"])
    return result


def stored() -> dict[str, Any]:
    """The metrics of the last `python -m inspire_fast.labeling.hindsight.coverage --episodes N --write`."""
    return json.loads(
        importlib.resources.files("inspire_fast.labeling.hindsight").joinpath(RESULT_FILE).read_text("utf-8")
    )
