"""Named, pinned protocols, by name; see `protocol.Protocol`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspire_fast.core.registry import Registry
from inspire_fast.envs.libero.suites import SUITES
from inspire_fast.evaluation.run.libero import LiberoProtocol
from inspire_fast.evaluation.run.protocol import Protocol
from inspire_fast.evaluation.run.simpler import SimplerProtocol

# Step limits of openpi's client: slightly more than the longest demonstration of each suite.
OPENPI_STEPS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}


def protocol_from(stored: Mapping[str, Any]) -> Protocol:
    """Rebuilds a protocol from its JSON object.

    Raises:
        ValueError: written by another version of the package.
    """
    lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    try:
        return SimplerProtocol(**lists) if "simulator" in lists else LiberoProtocol(**lists)
    except TypeError as error:
        raise ValueError(f"This protocol was written by another version of inspire_fast: {error}") from error


PROTOCOLS: Registry[Protocol] = Registry(
    "protocol",
    {
        # openpi's examples/libero/main.py: one seed per task, then its 50 episodes in order.
        "openpi": LiberoProtocol(
            name="openpi",
            suites=("libero_spatial", "libero_object", "libero_goal", "libero_10"),
            trials=50,
            max_steps=OPENPI_STEPS,
            orientation="rotated_180",
            fixtures="sequence",
            sampling="robosuite",
        ),
        # InSpire's table (arXiv 2505.13888): trained on LIBERO-90, all five suites, an environment seeded per episode.
        "inspire": LiberoProtocol(
            name="inspire",
            suites=SUITES,
            trials=10,
            max_steps=OPENPI_STEPS,
            fixtures="constant",
            sampling="robosuite",
            seen=("libero_90",),
        ),
        # For `make demo`. Its results are comparable with each other only.
        "quick": LiberoProtocol(
            name="quick",
            suites=("libero_spatial", "libero_object", "libero_goal"),
            trials=2,
            max_steps={
                "libero_spatial": 150,
                "libero_object": 150,
                "libero_goal": 150,
                "libero_10": 300,
                "libero_90": 200,
            },
            camera_px=112,
            image_px=112,
            render_quality="reduced",
        ),
        # SimplerEnv's four WidowX tasks in ManiSkill 3, whose success and placements differ from ManiSkill 2's: figures
        # are comparable with each other only. Steps and success as in SimplerEnv; ensemble as in CogACT's client.
        "simpler_widowx_ms3": SimplerProtocol(
            name="simpler_widowx_ms3",
            suites=("simpler_widowx",),
            max_steps={"simpler_widowx": 60, "simpler_widowx:3": 120},
            robot="widowx_bridge",
            simulator="maniskill3",
            mani_skill="3.0.1",
            execute=1,
            ensemble=7,
        ),
        # The same with starVLA's and InternVLA-M1's 120 steps for every task; starVLA runs each placement four times.
        "simpler_widowx_starvla_ms3": SimplerProtocol(
            name="simpler_widowx_starvla_ms3",
            suites=("simpler_widowx",),
            max_steps={"simpler_widowx": 120},
            robot="widowx_bridge",
            simulator="maniskill3",
            mani_skill="3.0.1",
            repeats=4,
            execute=1,
            ensemble=7,
        ),
        # SimplerEnv's visual matching of Google Robot. Its simulator is not in a package registry: see `Job.make`.
        "simpler_google": SimplerProtocol(
            name="simpler_google",
            suites=("simpler_google_coke", "simpler_google_near", "simpler_google_drawer", "simpler_google_apple"),
            max_steps={
                "simpler_google_coke": 80,
                "simpler_google_near": 80,
                "simpler_google_drawer": 113,
                "simpler_google_apple": 200,
            },
            robot="google_robot",
            simulator="maniskill2",
            execute=1,
            ensemble=2,
            sticky_steps=15,
        ),
    },
)
