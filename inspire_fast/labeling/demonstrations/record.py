"""Recording of scripted demonstrations in parallel processes, each saved as soon as it is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
import contextlib
import dataclasses
from dataclasses import dataclass, field
import functools
import json
from pathlib import Path
import time

import numpy as np
from tqdm import tqdm

from inspire_fast.core.files import write_text
from inspire_fast.core.ranges import Count, Fraction, Natural, require_ranges
from inspire_fast.core.types import SceneFacts
from inspire_fast.envs.libero.camera import VIEWS, RenderQuality
from inspire_fast.envs.libero.domain import InitialStates, LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.controller import InfeasibleSceneError, Variation
from inspire_fast.envs.libero.experts.registry import EXPERTS
from inspire_fast.envs.libero.scene_cache import SceneCache
from inspire_fast.envs.workers import run_in_blocks
from inspire_fast.labeling.demonstrations.disturbed_execution import DisturbedExecution
from inspire_fast.labeling.demonstrations.episode import (
    RecordedEpisode,
    fact_arrays,
    load_episode,
    save_episode,
    trace_array,
)
from inspire_fast.labeling.traces import POINTS, gripper_events, with_traces
from inspire_fast.robots.libero import LIBERO

SPEC_FILE = "recording.json"
_RETRY_STRIDE = 100_000  # a retried demonstration starts from an initial state that no other one has


@dataclass(frozen=True, kw_only=True)
class RecordSpec:
    """What to record. The same spec and folder resume; another spec in the same folder is refused.

    Attributes:
        tasks: `(suite, task number)` of each task.
        episodes: demonstrations per task.
        chunk: an image is kept at every `chunk`-th step.
        max_steps: an expert that needs more steps has failed.
        camera_hw: height and width of the images.
        first_episode: number of the first one; with fixed initial states, choose it so that none is evaluated on later.
        seed: decides initial states and the experts' variation.
        initial_states, render_quality: see `LiberoSettings`.
        expert: name in `envs.libero.experts.registry.EXPERTS`.
        variation: how much the expert varies.
        execution_noise: standard deviation of the noise on executed translations, action units, correlated over about
            five steps. Recorded are the expert's own actions, which correct it: states off the path come with the way
            back (DART, Laskey et al. 2017). 0.3 displaces the hand by about a centimetre.
        early_closing: share of demonstrations in which the executed fingers close once in the approach, before the
            thing is reached, while the hand drifts away; the recorded actions open them and go on.
        attempts: attempts at one demonstration before it is skipped.
        boxes: segment every kept image: boxes of the targets, and points on what is visible of them. It renders a third
            time per kept image (see docs/st4vla.md for the cost).
    """

    tasks: tuple[tuple[str, Natural], ...]
    episodes: Count
    chunk: Count = 10
    max_steps: Count = 160
    camera_hw: tuple[Count, Count] = (112, 112)
    seed: Natural = 0
    first_episode: Natural = 0
    initial_states: InitialStates = "randomized"
    render_quality: RenderQuality = "full"
    expert: str = "carry_out"
    variation: Variation = field(default_factory=Variation)
    execution_noise: Fraction = 0.0
    early_closing: Fraction = 0.0
    attempts: Count = 5
    boxes: bool = False

    def __post_init__(self) -> None:
        require_ranges(self)
        if not self.tasks:
            raise ValueError("A recording needs tasks; got none.")
        _ = EXPERTS[self.expert]


@dataclass(frozen=True, kw_only=True)
class RecordSummary:
    """The recordings in the folder, and what this call added.

    Attributes:
        paths: every recorded demonstration of the spec, in order of task and episode.
        skipped: file name of each demonstration that failed `attempts` times -> the reason of each attempt.
        steps: control steps in all recordings.
        failures: failed attempts before the recordings, in this and earlier calls.
        recorded: demonstrations recorded by this call.
        seconds: wall time of this call.
    """

    paths: tuple[Path, ...]
    skipped: Mapping[str, Sequence[str]]
    steps: int
    failures: int
    recorded: int
    seconds: float

    @property
    def episodes(self) -> int:
        return len(self.paths)


@dataclass(frozen=True, kw_only=True)
class _Job:
    suite: str
    task: int
    number: int
    path: Path


def record_episode(environment: LiberoEnvironment, spec: RecordSpec, *, episode: int, seed: int) -> RecordedEpisode:
    """Resets the environment to `episode` and lets the expert act until success, its end, or `spec.max_steps`.

    Raises:
        ValueError: the instruction's targets are not known in this task (see `LiberoEnvironment.unlabelled`), or the
            expert does not know how to reach the task's goal.
        InfeasibleSceneError: the expert sees no way from this initial state, or the state already solves the task.
    """
    if environment.unlabelled:
        raise ValueError(f"{environment.task.name} cannot be labelled: {environment.unlabelled}")
    environment.reset(episode)
    frames, states, facts, actions = [], [], [], []
    rng = np.random.default_rng([seed, episode, 1])
    executed = DisturbedExecution(spec.execution_noise, spec.early_closing, rng)
    for action in EXPERTS[spec.expert](environment, np.random.default_rng([seed, episode]), spec.variation):
        if len(actions) == spec.max_steps:
            break
        seen = len(actions) % spec.chunk == 0
        if seen:
            frames.append(environment.observe())
        truth = environment.facts(boxes=spec.boxes and seen)
        assert truth is not None  # checked above
        facts.append(truth)
        states.append(environment.state())
        actions.append(LIBERO.native_actions(action[None])[0])
        environment.step(executed(action))
        if environment.success:
            break
    if not actions:
        raise InfeasibleSceneError(f"the expert did not act (solved from the start: {environment.success})")
    return RecordedEpisode(
        state=np.array(states, dtype=np.float32),
        actions=np.array(actions, dtype=np.float32),
        **fact_arrays(facts),
        trace_px=_traces(facts, np.array(states), spec.camera_hw),
        images={key: np.stack([frame[key] for frame in frames]) for key in VIEWS},
        chunk=spec.chunk,
        prompt=environment.prompt,
        success=environment.success,
        suite=environment.task.suite,
        task=environment.task.index,
        episode=episode,
        seed=seed,
    )


def _traces(facts: Sequence[SceneFacts], states: np.ndarray, camera_hw: tuple[int, int]) -> np.ndarray:
    """The gripper's coming path at each step, `[n, p, 2]`, from its places and its states `[n, s]`."""
    signal, (height, width) = LIBERO.gripper, camera_hw
    assert signal is not None
    events = gripper_events(signal.openings(states), LIBERO.control_hz, signal)
    found = with_traces(facts, events, aspect=width / height)
    return trace_array([scene and scene.trace_px for scene in found], POINTS)


def record(spec: RecordSpec, out_dir: str | Path, *, workers: int = 2, progress: bool = True) -> RecordSummary:
    """Records the demonstrations that are missing in a folder. It can be interrupted at any time and called again.

    A demonstration that fails `spec.attempts` times is skipped and listed in the summary; the others are recorded.

    Each worker is a new process (not a fork) with one environment at a time: about 2 GB of memory. The calling script
    must therefore be importable: keep its work under `if __name__ == "__main__":`.

    Raises:
        ValueError: the folder holds a recording of another spec.
        RuntimeError: a worker failed or died, or no demonstration succeeded; recorded ones are kept.
    """
    started, out_dir = time.monotonic(), Path(out_dir)
    _claim(spec, out_dir)
    jobs = [
        _Job(suite=suite, task=task, number=number, path=out_dir / f"{suite}-{task:02d}-{number:05d}.npz")
        for suite, task in spec.tasks
        for number in range(spec.first_episode, spec.first_episode + spec.episodes)
    ]
    todo = [job for job in jobs if not job.path.exists()]
    skipped: dict[str, Sequence[str]] = {}
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(todo), desc="demonstrations", unit="ep", disable=not progress)
    with bar:
        for job, reasons in _finished(spec, todo, workers):
            if reasons:
                skipped[job.path.name] = reasons
            bar.update()
    paths = tuple(job.path for job in jobs if job.path.name not in skipped)
    if not paths:
        raise RuntimeError(f"None of {len(jobs)} demonstrations succeeded. Reasons: {skipped}")
    episodes = [load_episode(path) for path in paths]
    return RecordSummary(
        paths=paths,
        skipped=dict(sorted(skipped.items())),
        steps=sum(map(len, episodes)),
        failures=sum(episode.failures for episode in episodes),
        recorded=len(todo) - len(skipped),
        seconds=time.monotonic() - started,
    )


def _claim(spec: RecordSpec, out_dir: Path) -> None:
    """Writes the spec into the folder, or checks that the folder's spec is the same."""
    path, text = out_dir / SPEC_FILE, json.dumps(dataclasses.asdict(spec), indent=2, sort_keys=True)
    before = path.read_text(encoding="utf-8") if path.exists() else text
    neither = {"execution_noise": 0.0, "early_closing": 0.0, "boxes": False}  # older recordings had none of them
    if neither | json.loads(before) != json.loads(text):
        raise ValueError(
            f"{out_dir} holds a recording of another spec:\n{before}\nnow asked for:\n{text}\n"
            "Choose another folder, or delete this one."
        )
    write_text(path, text)


def _finished(spec: RecordSpec, jobs: Sequence[_Job], workers: int) -> Iterator[tuple[_Job, Sequence[str]]]:
    """Runs the jobs and yields each when it is finished, with the reasons of its failed attempts if it was skipped."""
    with contextlib.closing(run_in_blocks(functools.partial(_run, spec), jobs, workers)) as finished:
        for job, future in finished:
            try:
                yield job, future.result()
            except BrokenProcessPool as error:
                raise RuntimeError(
                    f"The worker that recorded {job.suite} task {job.task} died (out of memory? each needs about 2 "
                    "GB). Recorded demonstrations are kept: run it again, with fewer workers if memory is short."
                ) from error
            except Exception as error:
                raise RuntimeError(
                    f"Recording {job.suite} task {job.task} number {job.number} failed: {error}"
                ) from error


@functools.cache  # of this worker process
def _scenes(spec: RecordSpec) -> SceneCache:
    settings = LiberoSettings(
        camera_hw=spec.camera_hw,
        seed=spec.seed,
        initial_states=spec.initial_states,
        render_quality=spec.render_quality,
    )
    return SceneCache(settings)


def _run(spec: RecordSpec, job: _Job) -> Sequence[str]:
    """Records and saves one demonstration; a failed attempt is followed by one from another state and seed.

    Returns:
        The reason of each failed attempt if none succeeded, else nothing.
    """
    environment, reasons = _scenes(spec).get(job.suite, job.task), []
    for attempt in range(spec.attempts):
        shift = attempt * _RETRY_STRIDE
        # A fixed state has no substitute, since the others are demonstrations of their own: only the variation changes.
        number = job.number if spec.initial_states == "fixed" else job.number + shift
        try:
            episode = record_episode(environment, spec, episode=number, seed=spec.seed + shift)
        except InfeasibleSceneError as error:
            reasons.append(str(error))
            continue
        if episode.success:
            save_episode(dataclasses.replace(episode, failures=attempt), job.path)
            return ()
        reasons.append(f"no success after {len(episode)} steps")
    return reasons
