"""Serves a checkpoint over openpi's websocket protocol: `uv run scripts/serve_policy.py --checkpoint <folder>`."""

from dataclasses import dataclass
import logging
from pathlib import Path

import tyro

from inspire_fast.policy.policy import InspirePolicy
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
    """

    checkpoint: Path
    host: str = "127.0.0.1"
    port: int = 8000
    port_file: Path | None = None
    api_key_file: Path | None = None


def main(args: Args) -> None:
    """Loads, warms up, serves until SIGTERM or Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    policy = InspirePolicy.load(args.checkpoint)
    server = PolicyServer(
        policy,
        host=args.host,
        port=args.port,
        port_file=args.port_file,
        api_keys=load_api_keys(args.api_key_file),
        warmup=policy.warmup_observations(),
    )
    server.serve_forever()


if __name__ == "__main__":
    main(tyro.cli(Args))
