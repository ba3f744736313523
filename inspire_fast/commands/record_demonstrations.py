"""Scripted LIBERO demonstrations, recorded as a labelled LeRobot dataset."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from inspire_fast.core.cli import run_command
from inspire_fast.core.files import write_json
from inspire_fast.core.ranges import Count, Fraction, Natural, require_ranges
from inspire_fast.envs.libero.camera import RenderQuality
from inspire_fast.envs.libero.suites import parse_task
from inspire_fast.labeling.demonstrations.record import RecordSpec, record
from inspire_fast.labeling.demonstrations.to_lerobot import write_dataset
from inspire_fast.robots import ROBOTS


@dataclass(frozen=True, kw_only=True)
class Args:
    """Records scripted LIBERO demonstrations. Repeated after an interruption, it continues where it stopped.

    Attributes:
        tasks: `suite:number`; docs/experts.md lists those that the expert solves.
        episodes: per task.
        root: the dataset's folder; single recordings are kept in `<root>.episodes`.
        chunk: an image is kept every `chunk` control steps.
        initial_states: `fixed` takes the suite's 50 stored states, `randomized` draws from the task's placement
            regions.
        first_episode: with fixed states, the first of the states; evaluation uses them from 0 on.
        execution_noise: standard deviation of the noise on executed translations (0..1, action units; 0.3 is about a
            centimetre); the recorded actions correct it.
        early_closing: share of demonstrations in which the executed fingers close once too early; the recorded actions
            open them again.
        workers: processes, each with a simulator of up to 2 GB.
        expert: name in `envs.libero.experts.registry.EXPERTS`.
        boxes: also record boxes of the targets in the front camera's pictures, and points on what is visible of them.
            It renders the front camera once more per kept image; docs/st4vla.md has the cost.
        max_steps: an expert that needs more has failed and tries another state.
    """

    tasks: tuple[str, ...]
    root: Path
    episodes: Count = 50
    chunk: Count = 5
    camera_px: Count = 112
    render_quality: RenderQuality = "full"
    initial_states: Literal["fixed", "randomized"] = "randomized"
    first_episode: Natural = 0
    seed: Natural = 0
    execution_noise: Fraction = 0.0
    early_closing: Fraction = 0.0
    workers: Count = 2
    expert: str = "carry_out"
    max_steps: Count = 400
    boxes: bool = False

    def __post_init__(self) -> None:
        require_ranges(self)


def record_demonstrations(args: Annotated[Args, tyro.conf.arg(name="")]) -> int:
    """Records, converts, and prints a summary that is also kept in `<root>.episodes/summary.json`.

    Status 1 if a demonstration was skipped because the expert failed too often; all others are kept.
    """
    tasks = tuple(map(parse_task, args.tasks))
    same = {key: value for key, value in vars(args).items() if key not in ("tasks", "camera_px", "root", "workers")}
    spec = RecordSpec(tasks=tasks, camera_hw=(args.camera_px, args.camera_px), **same)
    folder = args.root.with_name(args.root.name + ".episodes")
    written = folder / "dataset-written"
    if args.root.exists() and not written.exists():
        raise ValueError(f"{args.root} exists and was not written by this command; choose another --root.")
    summary = record(spec, folder, workers=args.workers)
    written.touch()
    write_dataset(summary.paths, args.root, robot=ROBOTS["libero"], overwrite=True)
    stored = {k: v for k, v in asdict(summary).items() if k != "paths"} | {"episodes": summary.episodes}
    write_json(folder / "summary.json", stored)
    print(f"{summary.episodes} demonstrations, {summary.steps} steps, {summary.failures} failed attempts: {args.root}")
    for name, reasons in summary.skipped.items():
        print(f"skipped after {len(reasons)} failed attempts: {name}: {'; '.join(dict.fromkeys(reasons))}")
    return int(bool(summary.skipped))


main = partial(run_command, record_demonstrations, errors=(RuntimeError,))
