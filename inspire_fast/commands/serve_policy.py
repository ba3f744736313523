"""The policy server's command line: openpi's, and a plain `--checkpoint DIR`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
import logging
from pathlib import Path
import sys

import jax
import tyro

from inspire_fast.core.cli import exit_statuses, require_unused
from inspire_fast.core.policy import Policy
from inspire_fast.core.ranges import Count, Natural, NotNegative, Port, Positive, require_ranges
from inspire_fast.models.inference.build import Weights
from inspire_fast.policy.load import SHIPPED_DEFAULT, Env, Tokenizers, default_checkpoint, load_policy
from inspire_fast.policy.policy import InspirePolicy, ServingOptions
from inspire_fast.policy.replay import ReplayPolicy
from inspire_fast.robots import ROBOTS
from inspire_fast.serving.access import load_api_keys, load_tls
from inspire_fast.serving.config import MAX_FRAME_BYTES, ServerConfig
from inspire_fast.serving.live import LiveView
from inspire_fast.serving.logs import LogFormat, configure_logging
from inspire_fast.serving.recording import Recorder, RecordingLimits
from inspire_fast.serving.serve import build_server
from inspire_fast.serving.server import PolicyServer
from inspire_fast.serving.session import Observer
from inspire_fast.serving.steering import Steering

logger = logging.getLogger(__name__)

_RECORDS = "policy_records"  # folder of openpi's `--record`, which takes none


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint by the name of its config, as openpi names it.

    Attributes:
        config: an openpi config, or the one that a checkpoint of this package was trained with.
        dir: a step's folder, or a run's, or an address such as gs://openpi-assets/checkpoints/pi0_fast_libero. It is
            downloaded (extra `gcs`) unless openpi's cache has a copy.
        text_tokenizer: PaliGemma's, for a checkpoint of openpi's where the caches have none.
        action_tokenizer: folder or repository of the FAST processor, where not the config's.
        download: fetch tokenizers that the caches lack.
    """

    config: str
    dir: str
    text_tokenizer: Path | None = None
    action_tokenizer: str | None = None
    download: bool = False


@dataclass(frozen=True, kw_only=True)
class Default:
    """`--checkpoint`, or the default policy of `--env`, or (without both) the policy that comes with the package."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A recorded episode, to bring up a robot without a model.

    Attributes:
        root: a LeRobot dataset.
        robot: registry name of the robot that executes the actions.
        episode: its number.
        horizon: actions per chunk.
        execute: actions that the client executes before its next request; all by default.
        loop: start again after the last action.
        action_column: its name, if not `actions` or `action`.
    """

    root: Path
    robot: str
    episode: Natural = 0
    horizon: Count = 10
    execute: Count | None = None
    loop: bool = False
    action_column: str | None = None

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(frozen=True, kw_only=True)
class ServeArgs:
    """Serves a policy over openpi's websocket protocol.

    Attributes:
        policy: a checkpoint as openpi names it, or a replay; instead of `--checkpoint`.
        checkpoint: a step's folder, or a run's (then its latest step); an address; or the name of a shipped or
            published checkpoint.
        env: serve this environment's default policy, a pi0-FAST checkpoint of openpi's, from openpi's cache.
        cache_dir: openpi's cache; by default OPENPI_DATA_HOME, or ~/.cache/openpi.
        default_prompt: the instruction of requests that bring none.
        host: address to listen on; anything but loopback should come with API keys.
        port: 0 takes a free one.
        port_file: written with the port once it listens.
        api_key_file: one accepted key per line; without it, INSPIRE_FAST_API_KEYS is read.
        tls_cert, tls_key: certificate chain and private key (PEM), to serve `wss://`.
        max_frame_mib: largest request in MiB (2^20 bytes); a larger one is refused unread.
        ping_timeout_s: a client that answers no ping for so long is dropped; 0 never drops one.
        batch_sizes: requests per call of the network, for several robots or simulator workers; each size is compiled
            before the server is ready.
        prompts: examples of the instructions. Programs for prompts of their length are compiled before the server is
            ready; by default for instructions as long as LIBERO's.
        compilation_cache: folder that keeps compiled programs, so that the next start takes seconds.
        weights: storage type of the language model's matrices, by default the checkpoint's. On a CPU float32 needs the
            least memory and time; on a GPU the shorter ones have not been measured.
        speculate: draft each call's answers from the last call's (changes the time of a call, nothing else).
        record: folder for LeRobot datasets of all requests and answers; without a folder it is policy_records.
        record_max_gb: disk space of the recordings (10^9 bytes); the oldest are deleted.
        live: a page at /live with the cameras, the answers and the chunks.
        steer: with `live`, clicks on the page answer the policy's questions for points in the robot's next call.
            Whoever reaches the page moves the robot: use `--api-key-file`.
        log_format: lines for people, or one JSON object per line.
    """

    policy: Checkpoint | Default | Replay = field(default_factory=Default)
    checkpoint: str | None = None
    env: Env | None = None
    cache_dir: Path | None = None
    default_prompt: str | None = None
    host: str = "127.0.0.1"
    port: Port = 8000
    port_file: Path | None = None
    api_key_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    max_frame_mib: Count = MAX_FRAME_BYTES // 2**20
    ping_timeout_s: NotNegative = 600.0
    batch_sizes: tuple[Count, ...] = (1,)
    prompts: tuple[str, ...] = ()
    compilation_cache: Path | None = None
    weights: Weights | None = None
    speculate: bool = True
    record: Path | None = None
    record_max_gb: Positive = 10.0
    live: bool = False
    steer: bool = False
    log_format: LogFormat = "text"

    def __post_init__(self) -> None:
        require_ranges(self)


def parse(arguments: Sequence[str]) -> ServeArgs:
    """Parses a command line; options may come before and after the subcommand, and `--record` may have no value.

    Raises:
        SystemExit: the command line is wrong, or asked for help.
    """
    given = list(arguments)
    for i, word in enumerate(given):
        if word == "--record" and (i + 1 == len(given) or given[i + 1].startswith(("-", "policy:"))):
            given[i] = f"--record={_RECORDS}"
    return tyro.cli(ServeArgs, args=given, config=(tyro.conf.CascadeSubcommandArgs,))


def load(args: ServeArgs) -> InspirePolicy | ReplayPolicy:
    """The policy that a command line asks for.

    Raises:
        ValueError: it names two policies; or an option without effect.
        KeyError: an unknown name; suggests the closest.
        OSError: a file or folder is missing.
    """
    serving = ServingOptions(weights=args.weights, speculate=args.speculate)
    match args.policy:
        case Replay() as replay:
            no_model = {"checkpoint", "env", "cache_dir", "batch_sizes"}
            no_model |= {"prompts", "compilation_cache", "weights", "speculate"}
            require_unused(args, no_model, "policy:replay runs no model")
            options = {key: value for key, value in vars(replay).items() if key != "robot"}
            return ReplayPolicy(**options, robot=ROBOTS[replay.robot])
        case Checkpoint() as named:
            # `env` is allowed: openpi's commands give it and openpi ignores it.
            require_unused(args, {"checkpoint"}, "policy:checkpoint names another one")
            tokenizers = Tokenizers(text=named.text_tokenizer, action=named.action_tokenizer, download=named.download)
            return load_policy(
                named.dir, config=named.config, tokenizers=tokenizers, serving=serving, cache_dir=args.cache_dir
            )
        case Default():
            checkpoint = args.checkpoint
            if checkpoint is not None:
                require_unused(args, {"env"}, "--checkpoint says what to serve")
            elif args.env is not None:
                checkpoint = default_checkpoint(args.env)
            else:
                checkpoint = SHIPPED_DEFAULT
                logger.info("serving %s, the policy that comes with the package (a small one, for LIBERO)", checkpoint)
            return load_policy(checkpoint, serving=serving, cache_dir=args.cache_dir)


def open_recorder(args: ServeArgs, policy: Policy) -> tuple[Recorder, ...]:
    """The recorder of `--record`; empty without that option.

    Raises:
        ValueError: a size without a folder, or too small a size.
        OSError: the folder cannot be written, or another process records there.
    """
    if args.record is None:
        require_unused(args, {"record_max_gb"}, "nothing is recorded without --record")
        return ()
    recorder = Recorder(
        args.record,
        robot=ROBOTS[policy.metadata["robot"]],
        horizon=policy.metadata["action_horizon"],
        limits=RecordingLimits(max_bytes=int(args.record_max_gb * 1e9)),
        default_prompt=args.default_prompt or "",
    )
    return (recorder,)


def live_observers(args: ServeArgs, policy: Policy) -> tuple[Observer, ...]:
    """The live page and the clicks on it, as far as they are asked for.

    Raises:
        ValueError: clicks without the page, or for a policy that asks for no points.
    """
    if args.steer and not args.live:
        raise ValueError("--steer takes clicks on the live page: add --live.")
    if not args.live:
        return ()
    robot = ROBOTS[policy.metadata["robot"]]
    if not args.steer:
        return (LiveView(robot),)
    steering = Steering(robot, policy.metadata.get("questions", {}))
    return LiveView(robot, steering), steering


def server_of(args: ServeArgs) -> PolicyServer:
    """The server that a command line asks for, with its policy loaded."""
    if args.compilation_cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(args.compilation_cache))
    config = ServerConfig(  # first: a wrong key file should not cost the loading of a checkpoint
        host=args.host,
        port=args.port,
        port_file=args.port_file,
        api_keys=load_api_keys(args.api_key_file),
        tls=load_tls(args.tls_cert, args.tls_key),
        max_frame_bytes=args.max_frame_mib * 2**20,
        ping_timeout_s=args.ping_timeout_s or None,
        batch_sizes=args.batch_sizes,
    )
    policy = load(args)
    return build_server(
        policy,
        config,
        prompts=args.prompts,
        default_prompt=args.default_prompt,
        observers=(*open_recorder(args, policy), *live_observers(args, policy)),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Loads, warms up, serves until SIGTERM or Ctrl-C."""
    args = parse(sys.argv[1:] if arguments is None else arguments)
    configure_logging(args.log_format)
    with exit_statuses():
        server_of(args).serve_forever()
