"""Runs episodes one after another in this process; parallel evaluation has one runner per process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from typing import Protocol as Interface

from inspire_fast.client import PolicyClient
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.envs.gl import RenderingUnavailableError
from inspire_fast.envs.libero.disturbances import Disturbed
from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.run.answering import Answering, options_for
from inspire_fast.evaluation.run.episodes import Key
from inspire_fast.evaluation.run.failures import MachineError, StoppedError, blamed_on_the_machine, unless_machine
from inspire_fast.evaluation.run.openpi_view import Presented
from inspire_fast.evaluation.run.protocols import Protocol
from inspire_fast.evaluation.run.rollout import Rollout, questions_of
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.environment import Environment

Videos = Literal["none", "calls", "steps"]


class Asked(Interface):
    """A policy, local or behind a server."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """See `core.policy.Policy`."""
        ...

    def infer(self, observation: Mapping[str, Any], options: RequestOptions | None = None) -> ActionChunk:
        """See `core.policy.Policy`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a policy server listens; called in the process that will talk to it."""

    host: str = "127.0.0.1"
    port: int | None = 8000
    api_key: str | None = None
    connect_timeout_s: float = 300.0
    request_timeout_s: float = 120.0

    def __call__(self) -> PolicyClient:
        """Connects.

        Raises:
            PolicyClientError: as `PolicyClient`.
        """
        return PolicyClient(
            self.host,
            self.port,
            self.api_key,
            connect_timeout_s=self.connect_timeout_s,
            request_timeout_s=self.request_timeout_s,
        )


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every runner of an evaluation needs; travels between processes and machines.

    Attributes:
        protocol: how episodes are run.
        policy: the metadata that the evaluation was begun with.
        answering: who answers the questions.
        disturbances: name -> severity, see `envs.libero.disturbances`.
        videos: a picture per call, per control step, or none.
        keep_looks: what the policy saw is kept, for attention maps.
        out: the evaluation's folder.
        make: builds the environment of a suite's task; None is LIBERO's.
    """

    protocol: Protocol
    policy: Mapping[str, Any]
    answering: Answering = "own"
    disturbances: Mapping[str, int] = field(default_factory=dict[str, int])
    videos: Videos = "calls"
    keep_looks: bool = False
    out: Path = Path()
    make: Callable[[str, int, Job], Environment] | None = None

    def environment(self, suite: str, task: int) -> Environment:
        """What a policy is asked in."""
        return (self.make or libero)(suite, task, self)


def libero(suite: str, task: int, job: Job) -> Environment:
    """The simulator under a protocol, perhaps disturbed."""
    protocol = job.protocol
    environment: LiberoEnvironment | Disturbed = LiberoEnvironment(
        suite,
        task,
        LiberoSettings(
            camera_hw=(protocol.camera_px, protocol.camera_px),
            seed=protocol.seed,
            fixture_seeding=protocol.fixtures,
            settle_steps=protocol.settle_steps,
            sampling=protocol.sampling,
            render_quality=protocol.render_quality,
        ),
    )
    if any(job.disturbances.values()):
        environment = Disturbed(environment, job.disturbances, seed=protocol.seed)
    orientation = str(job.policy.get("image_orientation", "rotated_180"))
    return Presented(environment, orientation=orientation, image_px=protocol.image_px)


class Runner:
    """One environment at a time, kept as long as the task stays the same."""

    def __init__(self, job: Job, policy: Asked) -> None:
        self._job, self._policy = job, policy
        self._robot = ROBOTS[str(job.policy.get("robot", "libero"))]
        self._questions = questions_of(job.policy)
        self._environment: Environment | None = None
        self._task: tuple[str, int] | None = None

    def run(self, key: Key) -> EpisodeRecord:
        """One episode.

        Raises:
            MachineError: it could not be finished; nothing is learnt about the policy. The next one may go on.
            StoppedError: no episode can be run.
        """
        suite, task, episode = key
        rollout = Rollout(
            robot=self._robot,
            questions=self._questions,
            execute=self._job.protocol.execute,
            max_steps=self._job.protocol.limit(suite),
            videos=None if self._job.videos == "none" else self._job.out,
            every_step=self._job.videos == "steps",
            looks=self._job.out if self._job.keep_looks else None,
            protocol=self._job.protocol.hash,
        )
        try:
            with blamed_on_the_machine():
                environment = self._at(suite, task)
                infer = unless_machine(lambda observation: self._ask(environment, observation))
                record = rollout.run(environment, infer, suite=suite, task=task, episode=episode)
        except MachineError:
            self.close()  # nobody knows what state it is in
            raise
        self._same_policy()
        return record

    def close(self) -> None:
        """Frees the simulator. The next episode makes it anew."""
        environment, self._environment, self._task = self._environment, None, None
        if environment is not None:
            environment.close()

    def _at(self, suite: str, task: int) -> Environment:
        if self._environment is None or self._task != (suite, task):
            self.close()
            try:
                self._environment = self._job.environment(suite, task)
            except (ImportError, RenderingUnavailableError, ValueError) as error:
                raise StoppedError(f"{suite} task {task} cannot be run here: {error}") from error
            self._task = (suite, task)
        return self._environment

    def _ask(self, environment: Environment, observation: Mapping[str, Any]) -> ActionChunk:
        facts = environment.facts() if self._job.answering in ("oracle", "adversarial") else None
        try:
            options = options_for(self._job.answering, facts, self._questions)
        except ValueError as error:
            raise StoppedError(str(error)) from error
        return self._policy.infer(observation, options)

    def _same_policy(self) -> None:
        """A server that was started again may serve another policy, whose episodes must not be mixed with these."""
        before, now = self._job.policy.get("checkpoint"), self._policy.metadata.get("checkpoint")
        if before != now:
            raise MachineError("policy", f"the server now serves {now!r}; this evaluation is of {before!r}.")


def check_policy(policy: Mapping[str, Any], protocol: Protocol, answering: Answering) -> None:
    """Refuses, before the first episode, what cannot be evaluated.

    Raises:
        ValueError: a policy of another robot, in an orientation that the protocol does not send, or without questions
            whose answers are to be forced.
    """
    robot = str(policy.get("robot", "libero"))
    if not robot.startswith("libero"):
        raise ValueError(f"The policy drives {robot!r}; LIBERO's robot is 'libero'.")
    orientation = str(policy.get("image_orientation", "rotated_180"))
    if protocol.orientation not in ("contract", orientation):
        raise ValueError(
            f"Protocol {protocol.name!r} sends pictures {protocol.orientation}; the policy was trained on {orientation}. "
            "Use --protocol inspire, which sends what the policy's contract says."
        )
    if answering in ("oracle", "adversarial") and not policy.get("questions"):
        raise ValueError(f"The policy asks no questions: there are no answers for --answers {answering} to force.")
