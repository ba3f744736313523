"""Evaluation in a simulator of a policy in this process, of a checkpoint, or of a server, of this package or openpi.

Writes one JSON line per episode and a page, `report.html`. Killed anywhere and run again, it goes on where it stopped.
"""

from collections.abc import Iterator, Sequence
import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path
import signal
import sys
from typing import Annotated, Any

from tqdm import tqdm
import tyro

from inspire_fast.client import PolicyClientError
from inspire_fast.core.cli import run_command
from inspire_fast.core.files import read_text
from inspire_fast.core.policy import Policy
from inspire_fast.core.ranges import Count, Natural, Port, Positive, Range, require_ranges
from inspire_fast.envs.gl import RenderingUnavailableError
from inspire_fast.envs.libero.camera import RenderQuality
from inspire_fast.envs.libero.disturbances import parse_disturbances
from inspire_fast.evaluation.records import records
from inspire_fast.evaluation.records.records import EpisodeRecord, Key
from inspire_fast.evaluation.report.page import write_page
from inspire_fast.evaluation.report.sequential import StopRule, Verdict
from inspire_fast.evaluation.report.tables import results, text_table
from inspire_fast.evaluation.run.answering import Answering
from inspire_fast.evaluation.run.episodes import list_episodes
from inspire_fast.evaluation.run.evaluate import Run, in_processes, in_this_process, run_missing_episodes
from inspire_fast.evaluation.run.failures import StoppedError
from inspire_fast.evaluation.run.protocols import PROTOCOLS
from inspire_fast.evaluation.run.ray_workers import on_ray
from inspire_fast.evaluation.run.runner import Address, Job, Outcome, Videos
from inspire_fast.evaluation.run.simpler import Assets, Fit, SuccessMode
from inspire_fast.evaluation.run.visual_prompt import VisualPrompt


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """Episodes of an evaluation and how they are run.

    Attributes:
        protocol: `openpi`, `inspire` or `quick` on LIBERO, `simpler_widowx_ms3` and others on SimplerEnv:
            everything that decides how an episode goes, see docs/evaluation.md.
        suites: these instead of the protocol's.
        tasks: single tasks, `suite:number`, e.g. `libero_spatial:0`.
        episodes: only the first `episodes` of the protocol's trials per task.
        out: folder of records, videos and page.
        policy_name: your name of the policy; a server that names no checkpoint (openpi's) needs one, and the same one
            again to continue in the same folder.
        host: address of the policy server; of a policy in this process, the address that its workers ask.
        batch_sizes: of a policy in this process: requests of several workers are answered in one call of these sizes
            (each is a program that is compiled first).
        workers: simulator processes (1-2 GB each); 0 runs everything in this process, without a server.
        ray_address: of a Ray cluster (`auto`, `host:6379`) whose machines run the workers; they must reach the server.
        answers: source of the answers: `own` (the policy), `oracle` (the simulator's truth is forced), `adversarial`
            (a wrong one is forced), `random` (one drawn from all allowed ones), `shifted` (the truth, its places
            moved by a tenth of the picture), `swapped` (the truth about the next target), `skip` (no question).
        disturb: `name:severity` with severities 1..5, e.g. `lighting:3`: camera_pose, lighting, textures, positions,
            distractors, paraphrases, sensor_noise, image_latency. LIBERO-PRO's are suites (`libero_goal_swap`).
        visual_prompt: `point` or `box` draws the truth into the picture that the policy sees.
        videos: an image per call of the policy, per control step (rendered for it alone), or none.
        stop_at: a success rate: the evaluation goes task by task through one initial state after the other, and ends as
            soon as the rate is shown to be above or below it (a sequential test, at most 5 % wrong).
        stop_against: folder of another policy's evaluation under the same protocol: likewise, as soon as one of the two
            is shown to be better.
        attention: draw the attention maps of every n-th call for the page; needs a checkpoint; 0 draws none.
        execute, max_steps, camera_px, render_quality, seed: instead of the protocol's, which is then another protocol.
        success_mode, fit, ensemble, repeats, assets: likewise, of SimplerEnv's protocols.
    """

    protocol: str = "openpi"
    suites: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    episodes: Count | None = None
    out: Path = Path("runs/libero")
    policy_name: str = ""
    host: str = "127.0.0.1"
    batch_sizes: tuple[Count, ...] = (1,)
    workers: Natural = 2
    ray_address: str | None = None
    answers: Answering = "own"
    disturb: tuple[str, ...] = ()
    visual_prompt: VisualPrompt = "none"
    videos: Videos = "calls"
    stop_at: Annotated[float, Range(0, 1, without_low=True, without_high=True)] | None = None
    stop_against: Path | None = None
    attention: Natural = 0
    execute: Count | None = None
    max_steps: Count | None = None
    camera_px: Count | None = None
    render_quality: RenderQuality | None = None
    seed: Natural | None = None
    success_mode: SuccessMode | None = None
    fit: Fit | None = None
    ensemble: Natural | None = None
    repeats: Count | None = None
    assets: Assets | None = None

    def __post_init__(self) -> None:
        require_ranges(self)

    def build_job(self) -> Job:
        """The job of the runners; the policy's metadata are not known yet."""
        known = PROTOCOLS[self.protocol]
        protocol = known.changed(
            execute=self.execute,
            max_steps=None if self.max_steps is None else dict.fromkeys(known.max_steps, self.max_steps),
            camera_px=self.camera_px,
            image_px=self.camera_px,
            render_quality=self.render_quality,
            seed=self.seed,
            success_mode=self.success_mode,
            fit=self.fit,
            ensemble=self.ensemble,
            repeats=self.repeats,
            assets=self.assets,
        )
        return Job(
            protocol=protocol,
            policy={},
            name=self.policy_name,
            answering=self.answers,
            disturbances=parse_disturbances(self.disturb),
            visual_prompt=self.visual_prompt,
            videos=self.videos,
            keep_observations=self.attention > 0,
            in_rounds=self.stop_at is not None or self.stop_against is not None,
            out=self.out,
        )

    def build_stop_rule(self, keys: Sequence[Key]) -> StopRule | None:
        """The rule that ends the evaluation early; None without one.

        Raises:
            ValueError: both options, a bar outside 0..1, or an evaluation under another protocol.
        """
        if self.stop_at is None and self.stop_against is None:
            return None
        against = None
        if self.stop_against is not None:
            protocol = self.build_job().protocol
            same = [record for record in records.read(self.stop_against) if record.protocol == protocol.hash]
            against = {record.key: record.success for record in same}
            if missing := [key for key in keys if key not in against]:
                raise ValueError(
                    f"{self.stop_against} has no record of {len(missing)} of these {len(keys)} episodes under protocol "
                    f"{protocol.name!r} ({protocol.hash}), such as {missing[0]}. Run them there first."
                )
        return StopRule(bar=self.stop_at, against=against)


def evaluate(policy: Policy | Address | str | Path, options: EvaluationOptions | None = None) -> list[EpisodeRecord]:
    """Runs the episodes that have no record yet, writes the page, and prints success by task.

    Example:
        >>> import inspire_fast as ifa
        >>> from inspire_fast.commands.evaluate import EvaluationOptions
        >>> options = EvaluationOptions(protocol="quick", tasks=("libero_object:0",), episodes=1)
        >>> records = ifa.evaluate(policy, options)
        >>> [record.success for record in records]
        [True]

    Args:
        policy: a policy, what `load_policy` takes, or the `Address` of a policy server.
        options: which episodes, and how they are run.

    Returns:
        A record of every planned episode.

    Raises:
        ValueError: the folder holds another evaluation, or the options contradict each other.
        KeyError: an unknown protocol, suite or task; suggests the closest.
        StoppedError: episodes failed for reasons of the machine. Finished ones are kept; the same call goes on.
    """
    options = options or EvaluationOptions()
    _check(policy, options)
    job = options.build_job()
    keys = list_episodes(job.protocol, suites=options.suites, only=options.tasks, episodes=options.episodes)
    rule = options.build_stop_rule(keys)
    with _running(policy, options) as (metadata, run):
        running = replace(job, policy=metadata)
        found = _run_missing(running, keys, run, patience=max(3, options.workers + 1), rule=rule)
    if options.attention and isinstance(policy, str | Path):
        from inspire_fast.evaluation.records.attention import AttentionProbe, draw_attention

        draw_attention(AttentionProbe.load(policy), options.out, found, every=options.attention)
    _print_results(job, found)
    if rule is not None and (said := _verdict(rule, keys, found)) != "open":
        print(f"ended early, after {len(found)} of {len(keys)} episodes: the success rate is {said} {_bar(options)}")
        return found
    if missing := len(keys) - len(found):
        raise StoppedError(
            f"{missing} episode(s) failed for other reasons than the policy (failures.jsonl): repeat the command."
        )
    return found


def _check(policy: Policy | Address | str | Path, options: EvaluationOptions) -> None:
    if options.workers < (1 if isinstance(policy, Address) else 0):
        raise ValueError(f"workers must be at least 1 (0 with a policy in this process); got {options.workers}.")
    if options.attention and not isinstance(policy, str | Path):
        raise ValueError("attention needs a folder, an address or a published name: a server shows no attention.")


def _verdict(rule: StopRule, keys: Sequence[Key], found: Sequence[EpisodeRecord]) -> Verdict:
    return rule.verdict({record.key: record.success for record in found}, len({key[:2] for key in keys}))


def _bar(options: EvaluationOptions) -> str:
    if options.stop_against is not None:
        return f"that of {options.stop_against} (sequential test, level 0.05)"
    return f"{options.stop_at} (sequential test, level 0.05)"


def _run_missing(job: Job, keys: list[Key], run: Run, *, patience: int, rule: StopRule | None) -> list[EpisodeRecord]:
    done = len({record.key for record in records.read(job.out)} & set(keys))
    with tqdm(total=len(keys), initial=done, desc="episodes", unit="ep", disable=None) as bar:

        def show(key: Key, outcome: Outcome) -> None:
            tqdm.write(_line(key, outcome))
            bar.update()

        def enough(found: Sequence[EpisodeRecord]) -> bool:
            return rule is not None and _verdict(rule, keys, found) != "open"

        return run_missing_episodes(job, keys, run, patience=patience, on_outcome=show, enough=enough)


def _print_results(job: Job, found: list[EpisodeRecord]) -> None:
    print(text_table(results(found, seen=job.protocol.seen)))
    print(
        f"protocol {job.protocol.name} ({job.protocol.hash}), answers {job.answering}: "
        f"{sum(r.success for r in found)} of {len(found)} episodes solved; "
        f"records and videos in {job.out}, page {write_page(job.out)}"
    )


@contextlib.contextmanager
def _running(policy: Policy | Address | str | Path, options: EvaluationOptions) -> Iterator[tuple[dict[str, Any], Run]]:
    """The policy's metadata, and the function that runs its episodes."""
    if isinstance(policy, Address):
        yield _workers(policy, options)
        return
    # Here, so that workers, which import this module too, never load JAX.
    from inspire_fast.policy.load import load_policy
    from inspire_fast.policy.policy import InspirePolicy
    from inspire_fast.serving.background import serve_in_background
    from inspire_fast.serving.config import ServerConfig
    from inspire_fast.serving.serve import build_server

    policy = load_policy(policy) if isinstance(policy, str | Path) else policy
    if options.workers == 0:
        if isinstance(policy, InspirePolicy):
            policy.warm_up(rows=options.batch_sizes)
        yield dict(policy.metadata), in_this_process(policy)  # pyright: ignore[reportArgumentType]
        return
    config = ServerConfig(host=options.host, batch_sizes=options.batch_sizes)
    with serve_in_background(build_server(policy, config)) as server:
        yield _workers(Address(host=options.host, port=server.port), options)


def _workers(address: Address, options: EvaluationOptions) -> tuple[dict[str, Any], Run]:
    with address() as client:
        metadata = dict(client.metadata)
    if options.ray_address is None:
        return metadata, in_processes(address, options.workers)
    return metadata, on_ray(address, options.ray_address, options.workers)


def _line(key: Key, outcome: Outcome) -> str:
    suite, task, episode = key
    if not isinstance(outcome, EpisodeRecord):
        return f"{suite}:{task} episode {episode}: not counted, {outcome}"
    said = "solved" if outcome.success else f"not solved ({outcome.stopped})"
    return f"{suite}:{task} episode {episode}: {said}, {outcome.steps} steps, {outcome.seconds:.1f} s"


@dataclass(frozen=True, kw_only=True)
class Args:
    """Evaluates a policy in a simulator.

    Attributes:
        options: which episodes, and how they are run.
        port: of the policy server.
        api_key_file: holds the server's API key.
        checkpoint: evaluate this policy in this process instead of a server's: a folder, an address, a published name.
        connect_timeout_s, request_timeout_s: how long to wait for a server to appear, and for an answer.
    """

    options: Annotated[EvaluationOptions, tyro.conf.arg(name="")] = field(default_factory=EvaluationOptions)
    port: Port = 8000
    api_key_file: Path | None = None
    checkpoint: str | None = None
    connect_timeout_s: Positive = 300.0
    request_timeout_s: Positive = 120.0

    def __post_init__(self) -> None:
        require_ranges(self)


def evaluate_command(args: Annotated[Args, tyro.conf.arg(name="")]) -> None:
    """Evaluates a policy in a simulator: of a server, or of a checkpoint."""
    address = Address(
        host=args.options.host,
        port=args.port,
        api_key=None if args.api_key_file is None else read_text(args.api_key_file).strip(),
        connect_timeout_s=args.connect_timeout_s,
        request_timeout_s=args.request_timeout_s,
    )
    evaluate(args.checkpoint or address, args.options)


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    run_command(evaluate_command, args, errors=(PolicyClientError, RenderingUnavailableError))
