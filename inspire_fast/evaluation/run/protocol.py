"""Interface of protocols: everything except the policy that decides the outcome of an evaluation's episodes.

Every record and report holds the protocol's hash. A change on the command line gives another protocol, with another
hash and a name that tells the change; records of different hashes are never mixed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
import hashlib
import json
from typing import Any, Self

from inspire_fast.core.episode import Infer
from inspire_fast.core.ranges import Count, require_ranges
from inspire_fast.robots.control.environment import Environment


@dataclass(frozen=True, kw_only=True)
class Protocol(ABC):
    """Settings of episodes that every simulator has, and what an evaluation asks of its simulator.

    Attributes:
        name: in the registry.
        suites: of a whole evaluation; `max_steps` may hold more.
        max_steps: suite -> control steps after which an episode has failed.
        execute: actions of each chunk that are executed before the next call.
        seen: suites of the training data under this protocol; the others are reported as unseen.
    """

    name: str
    suites: tuple[str, ...]
    max_steps: Mapping[str, Count]
    execute: Count = 5
    seen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_ranges(self)
        if missing := [s for s in self.suites if s not in self.max_steps]:
            raise ValueError(f"Protocol {self.name!r} has no step limit for {missing}.")

    def canonical(self) -> str:
        """The protocol as JSON: sorted keys, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> str:
        """First twelve hexadecimal digits of the SHA-256 of `canonical()`."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:12]

    def changed(self, **changes: Any) -> Self:
        """A copy with other values (None: unchanged), named after the changed fields.

        Raises:
            ValueError: a field that this simulator's protocols do not have.
        """
        known = {f.name for f in fields(self)} - {"name"}
        given = {k: v for k, v in changes.items() if v is not None}
        if unknown := set(given) - known:
            raise ValueError(f"Protocol {self.name!r} has no {sorted(unknown)}; it has {sorted(known)}.")
        new = {k: v for k, v in given.items() if v != getattr(self, k)}
        return replace(self, **new, name=f"{self.name} with other {', '.join(sorted(new))}") if new else self

    @property
    @abstractmethod
    def simulator_name(self) -> str:
        """Name of the simulator, for titles."""

    @property
    @abstractmethod
    def robot_name(self) -> str:
        """Robot of a policy that does not name one, as openpi's servers do not."""

    @property
    @abstractmethod
    def in_words(self) -> str:
        """What differs between this simulator's protocols, for the page; may be empty."""

    @abstractmethod
    def task_count(self, suite: str) -> int:
        """Number of tasks of a suite.

        Raises:
            ValueError: unknown suite.
            ImportError: the simulator is not installed; tells how to install it.
        """

    @abstractmethod
    def trial_count(self, suite: str, task: int) -> int:
        """Episodes of a task."""

    @abstractmethod
    def limit(self, suite: str, task: int) -> int:
        """Control steps after which an episode has failed.

        Raises:
            ValueError: the protocol has no limit for the suite; lists the known suites.
        """

    @abstractmethod
    def check_policy(self, policy: Mapping[str, Any]) -> None:
        """Checks before the first episode that a policy with these metadata fits.

        Raises:
            ValueError: another robot, or other images than the protocol sends.
        """

    @abstractmethod
    def simulator_versions(self) -> dict[str, str]:
        """Installed versions of the simulator's packages, for the records.

        Raises:
            ValueError: another version than the protocol's; tells what to install.
            ImportError: a package is missing.
        """

    @abstractmethod
    def environment(
        self, suite: str, task: int, policy: Mapping[str, Any], disturbances: Mapping[str, int]
    ) -> Environment:
        """The simulator of a task as a policy sees it.

        Args:
            suite: of the task.
            task: its number.
            policy: metadata.
            disturbances: name -> severity.

        Raises:
            ValueError: no such task, or disturbances that the simulator does not have.
            ImportError: the simulator is not installed.
            RenderingUnavailableError: it cannot render here.
        """

    @abstractmethod
    def executed(self, infer: Infer) -> Infer:
        """What becomes of an episode's replies before they are executed; called once per episode."""
