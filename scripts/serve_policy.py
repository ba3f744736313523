"""Serves a policy over openpi's websocket protocol.

uv run scripts/serve_policy.py --checkpoint checkpoints/libero
uv run scripts/serve_policy.py policy:checkpoint --policy.config=pi0_fast_libero --policy.dir=checkpoints/pi0_fast_libero
uv run scripts/serve_policy.py --env LIBERO
uv run scripts/serve_policy.py policy:replay --policy.root=datasets/libero --policy.robot=libero
"""

from functools import partial
import sys

import jax

from inspire_fast.policy.default_prompt import with_default_prompt
from inspire_fast.policy.policy import WARM_UP_PROMPTS, InspirePolicy
from inspire_fast.robots import ROBOTS
from inspire_fast.serving.access import load_api_keys, load_tls
from inspire_fast.serving.commands import ServeArgs, load_policy, open_recorder, parse
from inspire_fast.serving.config import ServerConfig
from inspire_fast.serving.live import LiveView
from inspire_fast.serving.logs import configure_logging
from inspire_fast.serving.server import PolicyServer


def build_server(args: ServeArgs) -> PolicyServer:
    """Loads what is to be served."""
    if args.compilation_cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(args.compilation_cache))
    config = ServerConfig(  # first: a wrong key file should not cost the loading of a checkpoint
        host=args.host,
        port=args.port,
        port_file=args.port_file,
        api_keys=load_api_keys(args.api_key_file),
        tls=load_tls(args.tls_cert, args.tls_key),
        batch_sizes=args.batch_sizes,
    )
    policy = load_policy(args)
    warm_up = None
    if isinstance(policy, InspirePolicy):
        default = () if args.default_prompt is None else (args.default_prompt,)
        warm_up = partial(policy.warm_up, (*default, *(args.prompts or WARM_UP_PROMPTS)), rows=args.batch_sizes)
    observers = [*open_recorder(args, policy), *([LiveView(ROBOTS[policy.metadata["robot"]])] if args.live else [])]
    served = policy if args.default_prompt is None else with_default_prompt(policy, args.default_prompt)
    return PolicyServer(
        served,
        config,
        warm_up=warm_up,
        observers=observers,
    )


def main(args: ServeArgs) -> None:
    """Loads, warms up, serves until SIGTERM or Ctrl-C."""
    try:
        build_server(args).serve_forever()
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    arguments = parse(sys.argv[1:])
    configure_logging(arguments.log_format)
    main(arguments)
