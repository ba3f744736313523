"""Evaluates a policy on LIBERO: a server of ours or of openpi's, or a checkpoint loaded here.

    uv run examples/libero/main.py --protocol openpi --port 8000 --workers 4 --out runs/openpi
    uv run examples/libero/main.py --protocol inspire --suites libero_goal --checkpoint checkpoints/libero --out runs/goal
    uv run examples/libero/main.py --protocol quick --tasks libero_object:0 --answers oracle --out runs/oracle

Writes one JSON line per episode and a page, `report.html`. Killed anywhere and run again, it goes on where it stopped.
"""

from collections.abc import Iterator
import contextlib
from dataclasses import dataclass
from pathlib import Path
import signal
import sys
from typing import Any

from tqdm import tqdm
import tyro

from inspire_fast.client import PolicyClientError
from inspire_fast.envs.gl import RenderingUnavailableError
from inspire_fast.envs.libero.camera import RenderQuality
from inspire_fast.envs.libero.disturbances import parse_disturbances
from inspire_fast.evaluation.records import records
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.report.page import write_page
from inspire_fast.evaluation.report.tables import results, text_table
from inspire_fast.evaluation.run.answering import Answering
from inspire_fast.evaluation.run.episodes import Key, plan
from inspire_fast.evaluation.run.evaluate import Run, evaluate, in_processes, in_this_process
from inspire_fast.evaluation.run.failures import StoppedError
from inspire_fast.evaluation.run.process_workers import Outcome
from inspire_fast.evaluation.run.protocols import PROTOCOLS, Protocol
from inspire_fast.evaluation.run.ray_workers import on_ray
from inspire_fast.evaluation.run.runner import Address, Job, Videos


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to run.

    Attributes:
        protocol: `openpi`, `inspire` or `quick`: everything that decides how an episode goes, see docs/evaluation.md.
        suites: these instead of the protocol's.
        tasks: single tasks, `suite:number`, e.g. `libero_spatial:0`.
        episodes: only the first so many of the protocol's trials per task.
        out: folder of records, videos and page.
        host, port: of the policy server.
        api_key_file: holds the server's API key.
        checkpoint: loads this policy here instead of asking a server.
        batch_sizes: with --checkpoint: requests of several workers are answered in one call of these sizes (each is a
            program that is compiled first).
        workers: simulator processes (1-2 GB each); 0 runs everything in this process, with --checkpoint only.
        ray_address: of a Ray cluster (`auto`, `host:6379`) whose machines run the workers; the server must be reachable
            from there.
        answers: who answers the questions: `own` (the policy), `oracle` (the simulator's truth is forced), `adversarial` (a wrong one is
            forced), `skip` (nothing is asked).
        disturb: `name:severity` with severities 1..5, e.g. `lighting:3`: camera_pose, lighting, textures, positions,
            distractors, paraphrases, sensor_noise, image_latency. LIBERO-PRO's are suites (`libero_goal_swap`).
        videos: a picture per call of the policy, per control step (rendered for it alone), or none.
        attention: with --checkpoint, each so many-th call's attention maps are drawn for the page; 0 draws none.
        connect_timeout_s, request_timeout_s: how long to wait for a server to appear, and for an answer.
        execute, max_steps, camera_px, render_quality, seed: instead of the protocol's, which is then another protocol.
    """

    protocol: str = "openpi"
    suites: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    episodes: int | None = None
    out: Path = Path("runs/libero")
    host: str = "127.0.0.1"
    port: int = 8000
    api_key_file: Path | None = None
    checkpoint: Path | None = None
    batch_sizes: tuple[int, ...] = (1,)
    workers: int = 2
    ray_address: str | None = None
    answers: Answering = "own"
    disturb: tuple[str, ...] = ()
    videos: Videos = "calls"
    attention: int = 0
    connect_timeout_s: float = 300.0
    request_timeout_s: float = 120.0
    execute: int | None = None
    max_steps: int | None = None
    camera_px: int | None = None
    render_quality: RenderQuality | None = None
    seed: int | None = None


def main(args: Args) -> None:
    """Runs what is not yet recorded, prints success by task, writes the page."""
    if args.workers < (0 if args.checkpoint else 1):
        raise ValueError(f"--workers is at least 1 (0 with --checkpoint); got {args.workers}.")
    if args.attention and not args.checkpoint:
        raise ValueError("--attention needs --checkpoint: a server does not show its network's attention.")
    protocol = _protocol(args)
    disturbances = parse_disturbances(args.disturb)
    keys = plan(protocol, suites=args.suites, only=args.tasks, episodes=args.episodes)
    done = len({record.key for record in records.read(args.out)} & set(keys))
    with (
        _policy(args) as (metadata, run),
        tqdm(total=len(keys), initial=done, desc="episodes", unit="ep", disable=None) as bar,
    ):
        job = Job(
            protocol=protocol,
            policy=metadata,
            answering=args.answers,
            disturbances=disturbances,
            videos=args.videos,
            keep_looks=args.attention > 0,
            out=args.out,
        )

        def show(key: Key, outcome: Outcome) -> None:
            tqdm.write(_line(key, outcome))
            bar.update()

        found = evaluate(job, keys, run, patience=max(3, args.workers + 1), on_outcome=show)
    if args.attention and args.checkpoint:
        from inspire_fast.evaluation.records.attention import Lens, draw_attention

        draw_attention(Lens.load(args.checkpoint), args.out, found, every=args.attention)
    print(text_table(results(found, seen=protocol.seen)))
    page = write_page(args.out)
    print(
        f"protocol {protocol.name} ({protocol.hash}), answers {args.answers}: {sum(r.success for r in found)} of "
        f"{len(found)} episodes solved; records and videos in {args.out}, page {page}"
    )
    if missing := len(keys) - len(found):
        raise StoppedError(f"{missing} episode(s) failed for the machine's sake (failures.jsonl): repeat the command.")


def _protocol(args: Args) -> Protocol:
    known = PROTOCOLS[args.protocol]
    return known.changed(
        execute=args.execute,
        max_steps=None if args.max_steps is None else dict.fromkeys(known.max_steps, args.max_steps),
        camera_px=args.camera_px,
        image_px=args.camera_px,
        render_quality=args.render_quality,
        seed=args.seed,
    )


@contextlib.contextmanager
def _policy(args: Args) -> Iterator[tuple[dict[str, Any], Run]]:
    """What the policy says of itself, and who runs its episodes."""
    if args.checkpoint is None:
        key = None if args.api_key_file is None else args.api_key_file.read_text().strip()
        yield _served(args, _address(args, args.port, key))
        return
    from inspire_fast.policy.policy import InspirePolicy
    from inspire_fast.serving.background import serve_in_background
    from inspire_fast.serving.config import ServerConfig
    from inspire_fast.serving.server import PolicyServer

    policy = InspirePolicy.load(args.checkpoint)
    policy.warm_up(rows=args.batch_sizes)
    if args.workers == 0:
        yield dict(policy.metadata), in_this_process(policy)
        return
    config = ServerConfig(host=args.host, batch_sizes=args.batch_sizes)
    with serve_in_background(PolicyServer(policy, config)) as server:
        yield _served(args, _address(args, server.port, None))


def _served(args: Args, address: Address) -> tuple[dict[str, Any], Run]:
    with address() as client:
        metadata = dict(client.metadata)
    if args.ray_address is None:
        return metadata, in_processes(address, args.workers)
    return metadata, on_ray(address, args.ray_address, args.workers)


def _address(args: Args, port: int, api_key: str | None) -> Address:
    return Address(
        host=args.host,
        port=port,
        api_key=api_key,
        connect_timeout_s=args.connect_timeout_s,
        request_timeout_s=args.request_timeout_s,
    )


def _line(key: Key, outcome: Outcome) -> str:
    suite, task, episode = key
    if not isinstance(outcome, EpisodeRecord):
        return f"{suite}:{task} episode {episode}: not counted, {outcome}"
    said = "solved" if outcome.success else f"not solved ({outcome.stopped})"
    return f"{suite}:{task} episode {episode}: {said}, {outcome.steps} steps, {outcome.seconds:.1f} s"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        main(tyro.cli(Args))
    except (ValueError, KeyError, OSError, ImportError, PolicyClientError, RenderingUnavailableError) as error:
        print(f"error: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        raise SystemExit(2) from error
    except StoppedError as error:
        print(f"stopped: {error}", file=sys.stderr)
        raise SystemExit(3) from error
    except KeyboardInterrupt:
        print("\ninterrupted; run it again and it goes on from here", file=sys.stderr)
        raise SystemExit(128 + signal.SIGINT) from None
