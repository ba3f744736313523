"""Named, pinned protocols: everything beside the policy that decides how an evaluation's episodes go.

A protocol's hash stands in every record and report. What is changed on the command line is another protocol, with
another hash and a name that says so; records of different hashes are never mixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
import hashlib
import json
from typing import Any, Literal

from inspire_fast.core.registry import Registry, unknown_name
from inspire_fast.envs.libero.camera import RenderQuality
from inspire_fast.envs.libero.observation_time import Sampling
from inspire_fast.envs.libero.seeding import FixtureSeeding
from inspire_fast.envs.libero.suites import PRO_SUITES, SUITES

# Steps after which openpi's client gives an episode up: the longest demonstration of each suite, and a little more.
OPENPI_STEPS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How episodes are run.

    Attributes:
        name: under which it is registered.
        suites: that a whole evaluation has; `max_steps` may know more.
        trials: episodes per task, from the suite's fixed initial states, in order.
        max_steps: suite -> control steps after which an episode has failed.
        settle_steps: without motion, before the policy is first asked.
        execute: actions of each chunk that are executed before the policy is asked again.
        orientation: in which pictures are sent: turned by 180 degrees whatever the policy says (a policy trained on others
            is refused), or as the policy's `contract` says (`rotated_180` for servers that say nothing).
        seed, fixtures, sampling: see `LiberoEnvironment`.
        camera_px: rendered height and width.
        image_px: height and width sent (resized with padding); the policy resizes to its own size.
        render_quality: see `envs.libero.camera.Cameras`.
        seen: suites that policies are trained on under this protocol; the others are reported as unseen.
        mujoco: version of the simulator that the pictures are of.
    """

    name: str
    suites: tuple[str, ...]
    trials: int
    max_steps: Mapping[str, int]
    settle_steps: int = 10
    execute: int = 5
    orientation: Literal["rotated_180", "contract"] = "contract"
    seed: int = 7
    fixtures: FixtureSeeding = "episode"
    sampling: Sampling = "end"
    camera_px: int = 256
    image_px: int = 224
    render_quality: RenderQuality = "full"
    seen: tuple[str, ...] = ()
    mujoco: str = "3.2.7"

    def __post_init__(self) -> None:
        if min(self.trials, self.execute, self.camera_px, self.image_px, *self.max_steps.values()) < 1:
            raise ValueError(f"trials, execute, max_steps and picture sizes are at least 1; got {self}.")
        if self.trials > 50:
            raise ValueError(f"A suite has 50 fixed initial states per task; {self.trials} trials cannot be had.")
        if missing := [s for s in self.suites if s not in self.max_steps]:
            raise ValueError(f"Protocol {self.name!r} has no step limit for {missing}.")

    def limit(self, suite: str) -> int:
        """Step limit of a suite; LIBERO-PRO's have that of the suite that they disturb.

        Raises:
            ValueError: the protocol does not know the suite; lists what it knows.
        """
        base = PRO_SUITES.get(suite, suite)
        if base not in self.max_steps:
            raise ValueError(unknown_name(f"suite of protocol {self.name!r}", suite, [*self.max_steps, *PRO_SUITES]))
        return self.max_steps[base]

    def canonical(self) -> str:
        """The protocol as JSON: sorted keys, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> str:
        """First twelve hexadecimal digits of the SHA-256 of `canonical()`."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:12]

    def changed(self, **changes: Any) -> Protocol:
        """The protocol with other values where they are given (None: as it is), named after what differs.

        Raises:
            ValueError: a field that does not exist.
        """
        known = {f.name for f in fields(self)} - {"name"}
        if unknown := set(changes) - known:
            raise ValueError(f"A protocol has no {sorted(unknown)}; it has {sorted(known)}.")
        new = {k: v for k, v in changes.items() if v is not None and v != getattr(self, k)}
        return replace(self, **new, name=f"{self.name} with other {', '.join(sorted(new))}") if new else self


def protocol_from(stored: Mapping[str, Any]) -> Protocol:
    """Rebuilds a protocol from its JSON object.

    Raises:
        ValueError: written by another version of the package.
    """
    lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
    try:
        return Protocol(**lists)
    except TypeError as error:
        raise ValueError(f"This protocol was written by another version of inspire_fast: {error}") from error


PROTOCOLS: Registry[Protocol] = Registry(
    "protocol",
    {
        # examples/libero/main.py of openpi: one seed per task, then its 50 episodes in order.
        "openpi": Protocol(
            name="openpi",
            suites=("libero_spatial", "libero_object", "libero_goal", "libero_10"),
            trials=50,
            max_steps=OPENPI_STEPS,
            orientation="rotated_180",
            fixtures="sequence",
            sampling="robosuite",
        ),
        # InSpire's table (arXiv 2505.13888): trained on LIBERO-90, all five suites, an environment seeded per episode.
        "inspire": Protocol(
            name="inspire",
            suites=SUITES,
            trials=10,
            max_steps=OPENPI_STEPS,
            fixtures="constant",
            sampling="robosuite",
            seen=("libero_90",),
        ),
        # To see that everything works, as `make demo` does; its figures are comparable among themselves only.
        "quick": Protocol(
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
    },
)
