"""Times a policy server without a robot: latency of requests, and of each stage that the server reports.

python examples/simple_client/main.py --policy 127.0.0.1:8000 [--requests 50] [--json FILE]

The observation is made from the server's contract: pictures of noise, a state between the robot's limits. It needs the
base install only (no JAX). Nobody executes the actions.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import sys
import time
from typing import Any

import numpy as np

from inspire_fast.client import PolicyClient, PolicyClientError
from inspire_fast.core.errors import UnknownNameError
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import ROBOTS

PERCENTILES = (50, 90, 99)
HW = (224, 224)


def observation_of(metadata: Mapping[str, Any], robot: str | None, prompt: str) -> dict[str, Any]:
    """A native observation for a server: of a robot by name, or else of the keys that its contract names.

    Raises:
        ValueError: the server does not say what it needs, and no robot is given.
    """
    name = robot or metadata.get("robot")
    if name is not None and (robot is not None or name in ROBOTS):
        return {**ROBOTS[name].fake_native(image_hw=HW), "prompt": prompt}
    if not metadata.get("cameras") or not metadata.get("state_keys"):
        raise ValueError(
            f"The server does not name its cameras and state (its metadata: {sorted(metadata) or 'none'}), as openpi's "
            f"do not. Give --robot, one of {', '.join(ROBOTS)}."
        )
    rng = np.random.default_rng(0)
    pictures = {key: rng.integers(0, 256, (*HW, 3), dtype=np.uint8) for key in metadata["cameras"]}
    state = {key: np.zeros(size, np.float32) for key, size in metadata["state_keys"].items()}
    return {**pictures, **state, "prompt": prompt}


def timed(
    policy: PolicyClient, observation: Mapping[str, Any], options: RequestOptions, requests: int
) -> dict[str, Any]:
    """Sends requests one after the other; every stage's milliseconds, and how many chunks were held."""
    start = time.perf_counter()
    policy.infer(observation, options)
    found: dict[str, Any] = {"first_ms": 1e3 * (time.perf_counter() - start), "requests": requests}
    chunks = [policy.infer(observation, options) for _ in range(requests)]
    stages = list(dict.fromkeys(stage for chunk in chunks for stage in chunk.timing_ms))
    found["stages"] = {
        stage: _figures([c.timing_ms[stage] for c in chunks if stage in c.timing_ms]) for stage in stages
    }
    found["held"] = sum(chunk.actions is None for chunk in chunks)
    found["chunk"] = _shape(chunks[-1])
    return found


def _figures(values: Sequence[float]) -> dict[str, float]:
    figures = {f"p{percent}": float(np.percentile(values, percent)) for percent in PERCENTILES}
    return {"mean": float(np.mean(values)), **figures, "max": float(max(values))}


def _shape(chunk: ActionChunk) -> list[int] | None:
    return None if chunk.actions is None else list(chunk.actions.shape)


def table(found: Mapping[str, Any]) -> str:
    """Stages and their figures, ms; the last line says what the round trip means for a control loop."""
    stages = dict(sorted(found["stages"].items(), key=lambda item: -item[1]["mean"]))
    width = max(len(stage) for stage in stages)
    head = f"{'ms':{width}}  " + "".join(f"{name:>9}" for name in next(iter(stages.values())))
    rows = [f"{stage:{width}}  " + "".join(f"{value:9.1f}" for value in one.values()) for stage, one in stages.items()]
    chunk = "held" if found["chunk"] is None else "x".join(map(str, found["chunk"]))
    last = f"first request {found['first_ms']:.0f} ms; chunks {chunk}; held {found['held']} of {found['requests']}"
    return "\n".join([head, *rows, last])


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--policy", default="127.0.0.1:8000", help="address of the server")
    add("--robot", help="by default the one that the server names")
    add("--requests", type=int, default=50)
    add("--prompt", default="put the red block on the plate")
    add("--mode", choices=("answer", "skip"), default="answer", help="ask the questions, or act without them")
    add("--json", type=Path, help="file for the figures")
    return made


def main(args: Sequence[str] | None = None) -> None:
    """Exit status 1: no server, or a request that failed."""
    given = parser().parse_args(args)
    if given.requests < 1:
        sys.exit(f"--requests must be at least 1; got {given.requests}")
    try:
        with PolicyClient(given.policy, connect_timeout_s=30.0) as policy:
            observation = observation_of(policy.metadata, given.robot, given.prompt)
            found = timed(policy, observation, RequestOptions(mode=given.mode), given.requests)
    except (PolicyClientError, UnknownNameError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(table(found))
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
