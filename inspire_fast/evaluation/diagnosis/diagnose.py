"""Diagnosis of an evaluation: why episodes fail, episode by episode, in `diagnosis.jsonl` of its folder.

Repeats every episode in the simulator without rendering (see `course`). Killed and called again, it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
from dataclasses import asdict, dataclass
import functools
from pathlib import Path
from typing import Any

import numpy as np

from inspire_fast.core.files import append_json_line, read_json_lines
from inspire_fast.core.ranges import Natural, require_ranges
from inspire_fast.envs.libero.disturbances import Disturbed
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.workers import run_in_blocks
from inspire_fast.evaluation.diagnosis.course import Course, repeat_episode
from inspire_fast.evaluation.diagnosis.expert_error import ExpertError, expert_error
from inspire_fast.evaluation.diagnosis.nearest import Demonstrations, first_divergence, read_demonstrations
from inspire_fast.evaluation.diagnosis.phases import gripper_timing, phase_steps
from inspire_fast.evaluation.records.actions import EpisodeActions, actions_file, load_actions
from inspire_fast.evaluation.records.records import EpisodeRecord, Key
from inspire_fast.evaluation.run.libero import LiberoProtocol
from inspire_fast.evaluation.run.runner import Job

FILE = "diagnosis.jsonl"


@dataclass(frozen=True, kw_only=True)
class DiagnosisOptions:
    """What a diagnosis looks at.

    Attributes:
        demonstrations: labelled LeRobot dataset of the policy's demonstrations, for the distance to their nearest
            state; None leaves it out.
        expert_every: the expert plans anew at every so many control steps; 0 leaves it out.
    """

    demonstrations: Path | None = None
    expert_every: Natural = 20

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Diagnosis of one episode.

    Attributes:
        suite, task, episode: the key.
        success: of the record.
        repeated: the repetition ended as the record says; otherwise nothing else can be believed.
        goal: its predicates as text.
        phases: per predicate: phase -> first control step, or None.
        gripper: see `gripper_timing`.
        nearest_m: distance to the demonstrations' nearest state at every fifth control step, metres; empty without.
        usual_m: see `Demonstrations`; None without.
        diverged: first control step of a divergence; None without one.
        expert: error of the chunks at visited states.
    """

    suite: str
    task: int
    episode: int
    success: bool
    repeated: bool
    goal: tuple[str, ...]
    phases: tuple[Mapping[str, int | None], ...]
    gripper: Mapping[str, float | int | None]
    nearest_m: tuple[float, ...] = ()
    usual_m: float | None = None
    diverged: int | None = None
    expert: tuple[ExpertError, ...] = ()

    @property
    def key(self) -> Key:
        """Suite, task, episode."""
        return self.suite, self.task, self.episode

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Diagnosis:
        """Rebuilds a diagnosis from its JSON object."""
        expert = tuple(ExpertError(**error) for error in stored["expert"])
        lists = {name: tuple(stored[name]) for name in ("goal", "phases", "nearest_m")}
        return cls(**{**stored, **lists, "expert": expert})


NEAREST_EVERY = 5


def read_diagnoses(folder: Path) -> dict[Key, Diagnosis]:
    """The diagnoses in an evaluation's folder; empty without any."""
    if not (folder / FILE).exists():
        return {}
    return {found.key: found for found in map(Diagnosis.from_dict, read_json_lines(folder / FILE))}


def diagnose(
    job: Job, found: Sequence[EpisodeRecord], options: DiagnosisOptions, *, workers: int = 2
) -> Iterator[Diagnosis]:
    """Diagnoses the episodes without a diagnosis, writes each to the folder, and yields it.

    Args:
        job: of the evaluation; `job.out` is its folder.
        found: its records.
        options: what to look at.
        workers: processes, each with two simulators (3 GB).

    Raises:
        FileNotFoundError: the evaluation saved no actions.
        ValueError: an unknown instruction in the demonstrations' dataset, or a damaged one.
    """
    done = read_diagnoses(job.out)
    missing = [record for record in found if record.key not in done]
    for record in missing:
        load_actions(actions_file(job.out, record.key))
    work = functools.partial(_diagnose, job, options)
    with contextlib.closing(run_in_blocks(work, missing, workers)) as finished:
        for _, future in finished:
            diagnosis = future.result()
            append_json_line(job.out / FILE, asdict(diagnosis))
            yield diagnosis


def _diagnose(job: Job, options: DiagnosisOptions, record: EpisodeRecord) -> Diagnosis:
    """Diagnoses one episode; runs in a worker process, which keeps its simulators."""
    pair = _simulators(job, record.suite, record.task)
    actions = load_actions(actions_file(job.out, record.key))
    course, errors = _repeat(pair, record.episode, actions, options.expert_every)
    demonstrations = None if options.demonstrations is None else _demonstrations(options.demonstrations)
    return Diagnosis(
        suite=record.suite,
        task=record.task,
        episode=record.episode,
        success=record.success,
        repeated=bool(course.met[-1].all()) == record.success,
        goal=tuple(" ".join(predicate) for predicate in course.goal),
        phases=tuple(phase_steps(course)),
        gripper=gripper_timing(course),
        expert=tuple(errors),
        **_nearness(course, record.prompt, demonstrations),
    )


def _nearness(course: Course, prompt: str, known: Mapping[str, Demonstrations] | None) -> dict[str, Any]:
    same = None if known is None else known.get(prompt)
    if same is None or set(same.phrases) != set(course.phrases):  # not demonstrated, or disturbed by a paraphrase
        return {}
    distances = same.distances_m(course)
    return {
        "nearest_m": tuple(np.round(distances[::NEAREST_EVERY], 4).tolist()),
        "usual_m": round(same.usual_m, 4),
        "diverged": first_divergence(distances, same.usual_m),
    }


def _repeat(
    pair: tuple[LiberoEnvironment | Disturbed, LiberoEnvironment],
    episode: int,
    actions: EpisodeActions,
    every: int,
) -> tuple[Course, list[ExpertError]]:
    """Repeats an episode; at the first call of every `every` steps a second simulator asks the expert."""
    environment, follower = pair
    simulated = environment.environment if isinstance(environment, Disturbed) else environment
    asked = {int(steps[0]) for steps in _groups(actions.steps, every)}
    chunks = dict(zip(actions.steps.tolist(), actions.chunks, strict=True))
    errors: list[ExpertError] = []
    if asked:
        follower.reset(episode)

    def on_state(step: int) -> None:
        if step not in asked or np.isnan(chunks[step]).any():
            return
        held = [predicate for predicate in simulated.problem.goal if simulated.holds(predicate[1])]
        state = simulated.simulator_state()
        if error := expert_error(follower, state, chunks[step], step=step, held=held):
            errors.append(error)

    return repeat_episode(environment, episode, actions, on_state=on_state), errors


def _groups(steps: np.ndarray, every: int) -> list[np.ndarray]:
    if every == 0 or not len(steps):
        return []
    return np.split(steps, np.flatnonzero(np.diff(steps // every)) + 1)


@functools.lru_cache(maxsize=1)
def _demonstrations(root: Path) -> Mapping[str, Demonstrations]:
    return read_demonstrations(root)


_open: dict[tuple[str, int], tuple[LiberoEnvironment | Disturbed, LiberoEnvironment]] = {}


def _simulators(job: Job, suite: str, task: int) -> tuple[LiberoEnvironment | Disturbed, LiberoEnvironment]:
    """The simulators of a task: the evaluation's, and one in which the expert plans. Others are closed first."""
    if (suite, task) not in _open:
        for environment, follower in _open.values():
            environment.close()
            follower.close()
        _open.clear()
        if not isinstance(job.protocol, LiberoProtocol):
            raise ValueError(
                f"A diagnosis repeats episodes of LIBERO; this evaluation is of {job.protocol.simulator_name}."
            )
        first, second = (job.protocol.simulator(suite, task, job.disturbances) for _ in range(2))
        _open[suite, task] = first, second.environment if isinstance(second, Disturbed) else second
    return _open[suite, task]
