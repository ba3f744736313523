"""Serving of one policy: warm-up, batching and default prompt around a `PolicyServer`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from inspire_fast.core.policy import Policy
from inspire_fast.policy.default_prompt import with_default_prompt
from inspire_fast.policy.load import load_policy
from inspire_fast.policy.policy import WARM_UP_PROMPTS, InspirePolicy
from inspire_fast.serving.config import ServerConfig
from inspire_fast.serving.server import PolicyServer
from inspire_fast.serving.session import Observer


def serve(
    policy: Policy | str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_keys: Sequence[str] = (),
    batch_sizes: Sequence[int] = (1,),
    default_prompt: str | None = None,
) -> None:
    """Serves a policy over openpi's websocket protocol until SIGTERM, SIGHUP or Ctrl-C.

    Example:
        >>> import inspire_fast as ifa
        >>> ifa.serve(policy, port=8000)

    Args:
        policy: a policy, or an argument of `load_policy`.
        host: address to listen on; anything but loopback should come with `api_keys`.
        port: 0 takes a free one.
        api_keys: accepted keys; without any, everybody who reaches the port is served.
        batch_sizes: requests per call of the network, for several robots or simulator workers.
        default_prompt: instruction of requests without one.
    """
    config = ServerConfig(host=host, port=port, api_keys=tuple(api_keys), batch_sizes=tuple(batch_sizes))
    build_server(policy, config, default_prompt=default_prompt).serve_forever()


def build_server(
    policy: Policy | str | Path,
    config: ServerConfig,
    *,
    prompts: Sequence[str] = (),
    default_prompt: str | None = None,
    observers: Sequence[Observer] = (),
) -> PolicyServer:
    """A server whose policy compiles its programs before the server is ready.

    Args:
        policy: a policy, or an argument of `load_policy`.
        config: settings of the server.
        prompts: expected instructions, to compile programs of their length; by default as long as LIBERO's.
        default_prompt: instruction of requests without one.
        observers: see `PolicyServer`.
    """
    if isinstance(policy, str | Path):
        policy = load_policy(policy)
    warm_up = None
    if isinstance(policy, InspirePolicy):
        default = () if default_prompt is None else (default_prompt,)
        warm_up = partial(policy.warm_up, (*default, *(prompts or WARM_UP_PROMPTS)), rows=config.batch_sizes)
    served = policy if default_prompt is None else with_default_prompt(policy, default_prompt)
    return PolicyServer(served, config, warm_up=warm_up, observers=observers)
