"""Records scripted demonstrations in parallel processes, each saved the moment it is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
import contextlib
import dataclasses
from dataclasses import dataclass, field
import json
import multiprocessing
import os
from pathlib import Path
import threading
import time
from typing import Literal

import numpy as np
from tqdm import tqdm

from inspire_fast.envs.libero.camera import RenderQuality
from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.envs.libero.experts.registry import EXPERTS, Expert, Variation
from inspire_fast.labeling.demonstrations.episode import RecordedEpisode, load_episode, save_episode

SPEC_FILE = "recording.json"
_RETRY_STRIDE = 100_000  # a retried demonstration starts from an initial state that no other one has


@dataclass(frozen=True, kw_only=True)
class RecordSpec:
    """What to record. The same spec and directory resume; another spec in the same directory is refused.

    Attributes:
        tasks: `(suite, task number)` of each task.
        episodes: demonstrations per task.
        chunk: keep a frame at every so many steps.
        max_steps: an expert that needs more has failed.
        camera_hw: height and width of the pictures.
        first_episode: number of the first one; with fixed initial states, choose it so that none is evaluated on later.
        seed: decides initial states and the experts' variation.
        initial_states, render_quality: see `LiberoEnvironment`.
        expert: name in `envs.libero.experts.registry.EXPERTS`.
        variation: how much the expert varies.
        attempts: how often one demonstration is tried before recording gives up.
    """

    tasks: tuple[tuple[str, int], ...]
    episodes: int
    chunk: int = 10
    max_steps: int = 160
    camera_hw: tuple[int, int] = (112, 112)
    seed: int = 0
    first_episode: int = 0
    initial_states: Literal["fixed", "randomized"] = "randomized"
    render_quality: RenderQuality = "full"
    expert: str = "pick_and_place"
    variation: Variation = field(default_factory=Variation)
    attempts: int = 5

    def __post_init__(self) -> None:
        if not self.tasks or min(self.episodes, self.chunk, self.max_steps, self.attempts) < 1:
            raise ValueError(f"A recording needs tasks, and episodes, chunk, max_steps, attempts >= 1; got {self}.")
        _ = EXPERTS[self.expert]


@dataclass(frozen=True, kw_only=True)
class RecordSummary:
    """What lies in the directory now, and what it took this time.

    Attributes:
        paths: every demonstration of the spec, in order of task and episode.
        steps: control steps in all of them.
        failures: unsuccessful attempts in all runs, thrown away.
        recorded: demonstrations recorded by this call (the others were there).
        seconds: wall time of this call.
    """

    paths: tuple[Path, ...]
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


def record_episode(
    environment: LiberoEnvironment,
    expert: Expert,
    *,
    episode: int,
    chunk: int,
    max_steps: int,
    seed: int = 0,
    variation: Variation | None = None,
) -> RecordedEpisode:
    """Resets the environment to `episode` and lets the expert act until success, its end, or `max_steps`.

    Raises:
        ValueError: the instruction's targets are not known in this task (see `LiberoEnvironment.unlabelled`), or the expert
            yielded no action.
    """
    if environment.unlabelled:
        raise ValueError(f"{environment.task.name} cannot be labelled: {environment.unlabelled}")
    environment.reset(episode)
    frames, states, facts, actions = [], [], [], []
    for action in expert(environment, np.random.default_rng([seed, episode]), variation or Variation()):
        if len(actions) == max_steps:
            break
        if len(actions) % chunk == 0:
            seen = environment.observe()
            frames.append(
                {key: image for key, image in seen.items() if isinstance(image, np.ndarray) and image.ndim == 3}
            )
        states.append(environment.state())
        truth = environment.facts()
        assert truth is not None  # checked above
        facts.append(truth.targets)
        actions.append(environment.step(action))
        if environment.success:
            break
    if not actions:
        raise ValueError(
            f"The expert did not act on {environment.prompt!r} (solved from the start: {environment.success})."
        )
    unseen = (np.nan, np.nan)
    return RecordedEpisode(
        state=np.array(states, dtype=np.float32),
        actions=np.array(actions, dtype=np.float32),
        phrases=tuple(target.phrase for target in facts[0]),
        offset_m=np.array([[target.offset_m for target in row] for row in facts], dtype=np.float32),
        grasped=np.array([[target.grasped for target in row] for row in facts]),
        point_px=np.array([[target.point_px or unseen for target in row] for row in facts], dtype=np.float32),
        images={key: np.stack([frame[key] for frame in frames]) for key in frames[0]},
        chunk=chunk,
        prompt=environment.prompt,
        success=environment.success,
        suite=environment.task.suite,
        task=environment.task.index,
        episode=episode,
        seed=seed,
    )


def record(spec: RecordSpec, out_dir: str | Path, *, workers: int = 2, progress: bool = True) -> RecordSummary:
    """Records what is not there yet. May be interrupted at any time and called again.

    Each worker is a process of its own (started afresh, not forked) with one environment at a time: about 2 GB of memory.
    The calling script must therefore be importable: keep its work under `if __name__ == "__main__":`.

    Raises:
        ValueError: the directory holds a recording of another spec.
        RuntimeError: a worker failed or died, or an expert failed `spec.attempts` times; what is done stays.
    """
    if workers < 1:
        raise ValueError(f"workers must be >= 1; got {workers}.")
    started, out_dir = time.monotonic(), Path(out_dir)
    _claim(spec, out_dir)
    jobs = [
        _Job(suite=suite, task=task, number=number, path=out_dir / f"{suite}-{task:02d}-{number:05d}.npz")
        for suite, task in spec.tasks
        for number in range(spec.first_episode, spec.first_episode + spec.episodes)
    ]
    todo = [job for job in jobs if not job.path.exists()]
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(todo), desc="demonstrations", unit="ep", disable=not progress)
    with bar:
        for _ in _finished(spec, todo, workers):
            bar.update()
    episodes = [load_episode(job.path) for job in jobs]
    return RecordSummary(
        paths=tuple(job.path for job in jobs),
        steps=sum(map(len, episodes)),
        failures=sum(episode.failures for episode in episodes),
        recorded=len(todo),
        seconds=time.monotonic() - started,
    )


def _claim(spec: RecordSpec, out_dir: Path) -> None:
    """Writes the spec into the directory, or checks that it is the one that stands there."""
    out_dir.mkdir(parents=True, exist_ok=True)
    path, text = out_dir / SPEC_FILE, json.dumps(dataclasses.asdict(spec), indent=2, sort_keys=True)
    if path.exists() and path.read_text() != text:
        raise ValueError(
            f"{out_dir} holds a recording of another spec:\n{path.read_text()}\nnow asked for:\n{text}\n"
            "Choose another directory, or delete this one."
        )
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def _finished(spec: RecordSpec, jobs: Sequence[_Job], workers: int) -> Iterator[None]:
    """Runs the jobs and yields once per finished one. Neighbours in the list go to one worker: they share their scene."""
    blocks = [block for block in np.array_split(np.arange(len(jobs)), workers) if len(block)]
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        futures: dict[Future[None], _Job] = {}
        for block in blocks:
            pool = ProcessPoolExecutor(
                max_workers=1, mp_context=context, initializer=_start_worker, initargs=(workers,)
            )
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            futures.update({pool.submit(_run, spec, jobs[i]): jobs[i] for i in block})
        for future in as_completed(futures):
            job = futures[future]
            try:
                future.result()
            except BrokenProcessPool as error:
                raise RuntimeError(
                    f"The worker that recorded {job.suite} task {job.task} died (out of memory? each needs about 2 GB). "
                    "What is recorded stays: run it again, with fewer workers if memory is short."
                ) from error
            except Exception as error:
                raise RuntimeError(
                    f"Recording {job.suite} task {job.task} number {job.number} failed: {error}"
                ) from error
            yield


_worker_environment: LiberoEnvironment | None = None


def _start_worker(workers: int) -> None:
    """Ends this worker with its parent, and shares the cores: Mesa's renderer would start a thread per core in each."""
    parent = multiprocessing.parent_process()
    if parent is not None:  # a killed parent cannot shut its pool down, and a worker would hold 2 GB for ever
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    os.environ.setdefault("LP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def _environment(spec: RecordSpec, job: _Job) -> LiberoEnvironment:
    """This worker's environment, kept from job to job as long as the task stays the same."""
    global _worker_environment  # noqa: PLW0603
    current = _worker_environment
    if current is not None and (current.task.suite, current.task.index) == (job.suite, job.task):
        return current
    if current is not None:
        current.close()
    _worker_environment = LiberoEnvironment(
        job.suite,
        job.task,
        LiberoSettings(
            camera_hw=spec.camera_hw,
            seed=spec.seed,
            initial_states=spec.initial_states,
            render_quality=spec.render_quality,
        ),
    )
    return _worker_environment


def _run(spec: RecordSpec, job: _Job) -> None:
    """Records one demonstration and saves it; a failed attempt is thrown away and tried again with another seed."""
    environment = _environment(spec, job)
    for failures in range(spec.attempts):
        fixed = spec.initial_states == "fixed"
        episode = record_episode(
            environment,
            EXPERTS[spec.expert],
            episode=job.number if fixed else job.number + failures * _RETRY_STRIDE,
            chunk=spec.chunk,
            max_steps=spec.max_steps,
            seed=spec.seed + failures * _RETRY_STRIDE,
            variation=spec.variation,
        )
        if episode.success:
            save_episode(dataclasses.replace(episode, failures=failures), job.path)
            return
    raise RuntimeError(f"the expert {spec.expert!r} failed {spec.attempts} times in a row: {environment.prompt!r}.")
