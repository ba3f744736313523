"""Drives LIBERO with a policy server, ours or openpi's.

    uv run examples/libero/main.py --port 8000 --tasks libero_spatial:0 libero_object:0 --episodes 10 --out runs/libero

Writes one JSON line per episode and a video of each; run again, it continues where it stopped.
"""

import contextlib
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
import sys

from tqdm import tqdm
import tyro

from inspire_fast.client import PolicyClient
from inspire_fast.envs.libero import LiberoEnvironment
from inspire_fast.evaluation import records
from inspire_fast.evaluation.rollout import Rollout, ServerGoneError, questions_of, stop_without_server
from inspire_fast.robots import ROBOTS


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to run.

    Attributes:
        tasks: `suite:number`, e.g. `libero_spatial:0`.
        episodes: per task, from the suite's fixed initial states.
        execute: actions of each chunk that are executed.
        max_steps: control steps after which an episode has failed (openpi: 220 spatial, 280 object, 300 goal, 520 10).
        camera_px: rendered height and width; policies resize to their own size.
        render_quality: `full`, or `reduced` (no multisampling, no reflections: 2-3 times as fast); as in training.
        seed: of fixture poses.
    """

    tasks: tuple[str, ...] = ("libero_spatial:0",)
    episodes: int = 10
    out: Path = Path("runs/libero")
    host: str = "127.0.0.1"
    port: int = 8000
    execute: int = 5
    max_steps: int = 280
    camera_px: int = 224
    render_quality: str = "full"
    seed: int = 7
    video: bool = True


def main(args: Args) -> None:
    """Runs what is not yet recorded and prints the success rate."""
    wanted = [(t.rpartition(":")[0], int(t.rpartition(":")[2]), e) for t in args.tasks for e in range(args.episodes)]
    with (
        PolicyClient(args.host, args.port) as client,
        tqdm(total=len(wanted), desc="episodes", unit="ep", disable=None) as bar,
    ):
        records.claim(args.out, _settings(args), client.metadata)
        done = {r.key for r in records.read(args.out)}
        infer = stop_without_server(client.infer)
        rollout = Rollout(
            robot=ROBOTS["libero"],
            questions=questions_of(client.metadata),
            execute=args.execute,
            max_steps=args.max_steps,
            videos=args.out if args.video else None,
        )
        for suite_task, group in groupby(wanted, key=lambda key: key[:2]):
            missing = [episode for *_, episode in group if (*suite_task, episode) not in done]
            bar.update(args.episodes - len(missing))
            if not missing:
                continue
            with contextlib.closing(_create(args, *suite_task)) as environment:
                for episode in missing:
                    suite, task = suite_task
                    record = rollout.run(environment, infer, suite=suite, task=task, episode=episode)
                    records.append(args.out, record)
                    outcome = "solved" if record.success else f"not solved ({record.stopped})"
                    tqdm.write(
                        f"{suite}:{task} episode {episode}: {outcome}, {record.steps} steps, {record.seconds:.1f} s"
                    )
                    bar.update()
    solved = [r.success for r in records.read(args.out) if r.key in wanted]
    print(f"{sum(solved)} of {len(solved)} episodes solved; records and videos in {args.out}")


def _settings(args: Args) -> dict[str, object]:
    """What decides an episode's outcome beside the policy; records of other settings are not mixed with these."""
    return {k: v for k, v in asdict(args).items() if k not in ("tasks", "episodes", "out", "host", "port", "video")}


def _create(args: Args, suite: str, task: int) -> LiberoEnvironment:
    return LiberoEnvironment(
        suite,
        task,
        camera_hw=(args.camera_px, args.camera_px),
        seed=args.seed,
        render_quality=args.render_quality,  # pyright: ignore[reportArgumentType]
    )


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (ValueError, ConnectionError, ServerGoneError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
