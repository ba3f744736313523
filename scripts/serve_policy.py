"""Serves a checkpoint over openpi's websocket protocol: `uv run scripts/serve_policy.py --checkpoint <folder>`."""

from dataclasses import dataclass
from functools import partial
import logging
from pathlib import Path

import jax
import tyro

from inspire_fast.models.serving import Weights
from inspire_fast.policy.policy import WARM_UP_PROMPTS, InspirePolicy, ServingOptions
from inspire_fast.serving.access import load_api_keys
from inspire_fast.serving.server import PolicyServer


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to serve and where.

    Attributes:
        checkpoint: a step's folder, or a run's (then its latest step). It carries its own contract.
        host: address to listen on; anything but loopback should come with API keys.
        port: 0 takes a free one.
        port_file: written with the port once it listens.
        api_key_file: one accepted key per line; without it, INSPIRE_FAST_API_KEYS is read.
        prompts: instructions as they will come. Programs for prompts of their length are compiled before the server is
            ready; by default for instructions as long as LIBERO's.
        compilation_cache: folder that keeps compiled programs, so that the next start takes seconds.
        weights: what the language model's matrices are held in; int8 takes half the memory of bfloat16.
        speculate: draft each call's answers from the last call's (changes the time a call takes, nothing else).
    """

    checkpoint: Path
    host: str = "127.0.0.1"
    port: int = 8000
    port_file: Path | None = None
    api_key_file: Path | None = None
    prompts: tuple[str, ...] = ()
    compilation_cache: Path | None = None
    weights: Weights | None = None
    speculate: bool = True


def main(args: Args) -> None:
    """Loads, warms up, serves until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if args.compilation_cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(args.compilation_cache))
    serving = ServingOptions(weights=args.weights, speculate=args.speculate)
    policy = InspirePolicy.load(args.checkpoint, serving=serving)
    server = PolicyServer(
        policy,
        host=args.host,
        port=args.port,
        port_file=args.port_file,
        api_keys=load_api_keys(args.api_key_file),
        warm_up=partial(policy.warm_up, args.prompts or WARM_UP_PROMPTS),
    )
    server.serve_forever()


if __name__ == "__main__":
    main(tyro.cli(Args))
