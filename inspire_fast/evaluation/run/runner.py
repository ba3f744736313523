"""Runner of episodes, one after another; a parallel evaluation has one runner per process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from inspire_fast.client import PolicyClient, PolicyClientError
from inspire_fast.core.policy import Policy, policy_name
from inspire_fast.core.types import ActionChunk
from inspire_fast.envs.gl import RenderingUnavailableError
from inspire_fast.evaluation.records.records import EpisodeRecord, Key, differences
from inspire_fast.evaluation.run.answering import FORCED, Answering, Remembered, options_for
from inspire_fast.evaluation.run.failures import (
    InfrastructureError,
    StoppedError,
    infrastructure_errors,
    raising_infrastructure_errors,
)
from inspire_fast.evaluation.run.protocol import Protocol
from inspire_fast.evaluation.run.rollout import Rollout, questions_of
from inspire_fast.evaluation.run.visual_prompt import VisualPrompt, with_marks
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.control.environment import Environment

Outcome = EpisodeRecord | InfrastructureError
Videos = Literal["none", "calls", "steps"]


@dataclass(frozen=True, kw_only=True)
class Address:
    """Address of a policy server; each worker process calls it to connect."""

    host: str = "127.0.0.1"
    port: int | None = 8000
    api_key: str | None = None
    connect_timeout_s: float = 300.0
    request_timeout_s: float = 120.0

    def __call__(self) -> PolicyClient:
        """Connects; raises `PolicyClientError` like `PolicyClient`."""
        return PolicyClient(**vars(self))


@dataclass(frozen=True, kw_only=True)
class Job:
    """Options of all runners of an evaluation; picklable.

    Attributes:
        protocol: settings of the episodes.
        policy: metadata of the policy at the start of the evaluation.
        name: a person's name of the policy, which an evaluation of a server that names none needs to be continued.
        answering: source of the answers to the policy's questions.
        disturbances: name -> severity, see `envs.libero.disturbances`.
        visual_prompt: the truth is drawn into the picture that the policy sees.
        videos: an image per call, per control step, or no video.
        keep_observations: save the policy's observations, for attention maps.
        in_rounds: see `Schedule`.
        out: the evaluation's folder.
        make: builds the environment of a suite's task; None builds the protocol's. Versions of a
            simulator that is made so are not recorded.
    """

    protocol: Protocol
    policy: Mapping[str, Any]
    name: str = ""
    answering: Answering = "own"
    disturbances: Mapping[str, int] = field(default_factory=dict[str, int])
    visual_prompt: VisualPrompt = "none"
    videos: Videos = "calls"
    keep_observations: bool = False
    in_rounds: bool = False
    out: Path = Path()
    make: Callable[[str, int, Job], Environment] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What tells the policy from others: its metadata, and its name if it has one."""
        return {**self.policy, "name": self.name} if self.name else dict(self.policy)

    def environment(self, suite: str, task: int) -> Environment:
        """Builds the environment of a task."""
        if self.make is not None:
            return self.make(suite, task, self)
        return self.protocol.environment(suite, task, self.policy, self.disturbances)


class Runner:
    """Runs episodes with one environment at a time, which is reused while the task stays the same."""

    def __init__(self, job: Job, policy: Policy) -> None:
        self._job, self._policy = job, policy
        self._robot = ROBOTS[str(job.policy.get("robot", job.protocol.robot_name))]
        self._questions = questions_of(job.policy)
        self._remembered: Remembered = {}
        self._environment: Environment | None = None
        self._task: tuple[str, int] | None = None

    def run(self, key: Key) -> EpisodeRecord:
        """Runs one episode.

        Raises:
            InfrastructureError: it could not be finished and does not count; the next one may work.
            StoppedError: no episode can be run.
        """
        suite, task, _ = key
        job = self._job
        rollout = Rollout(
            robot=self._robot,
            questions=self._questions,
            execute=job.protocol.execute,
            max_steps=job.protocol.limit(suite, task),
            videos=None if job.videos == "none" else job.out,
            every_step=job.videos == "steps",
            observations=job.out if job.keep_observations else None,
            actions=job.out,
            protocol=job.protocol.hash,
            policy={"robot": self._robot.name, **job.policy},  # `check_policy` has warned of one that does not say it
        )
        self._require_same_policy()
        self._remembered = {}
        try:
            with infrastructure_errors():
                environment = self._at(suite, task)
                infer = raising_infrastructure_errors(lambda observation: self._ask(environment, observation))
                record = rollout.run(environment, job.protocol.executed(infer), key)
        except InfrastructureError:
            self.close()  # its state is unknown
            raise
        return record

    def close(self) -> None:
        """Frees the simulator; the next episode builds a new one."""
        environment, self._environment, self._task = self._environment, None, None
        if environment is not None:
            environment.close()

    def _at(self, suite: str, task: int) -> Environment:
        if self._environment is None or self._task != (suite, task):
            self.close()
            try:
                self._environment = self._job.environment(suite, task)
            except (ImportError, RenderingUnavailableError, ValueError) as error:
                raise StoppedError(f"{suite} task {task} cannot be run on this machine: {error}") from error
            self._task = (suite, task)
        return self._environment

    def _ask(self, environment: Environment, observation: Mapping[str, Any]) -> ActionChunk:
        draws = self._job.visual_prompt != "none"
        facts = environment.facts() if draws or self._job.answering in FORCED else None
        try:
            observation = with_marks(observation, facts, self._job.visual_prompt, self._robot)
            options = options_for(self._job.answering, facts, self._questions, self._remembered)
        except ValueError as error:
            raise StoppedError(str(error)) from error
        return self._policy.infer(observation, options)

    def _require_same_policy(self) -> None:
        """Raises unless the policy is that of the evaluation, with whose episodes these are counted."""
        before, now = self._job.policy, self._policy.metadata
        if found := list(differences(before, now)):
            raise InfrastructureError(
                "policy",
                f"the server now serves {policy_name(now)!r}; this evaluation is of {policy_name(before)!r} "
                f"({'; '.join(found)}).",
            )


class ConnectingRunner:
    """A runner that connects to its server at the first episode, and returns errors instead of raising them."""

    def __init__(self, job: Job, connect: Callable[[], Policy]) -> None:
        self._job, self._connect = job, connect
        self._runner: Runner | None = None

    def run(self, key: Key) -> Outcome | StoppedError:
        """Runs one episode; see `Runner.run`."""
        try:
            if self._runner is None:
                self._runner = Runner(self._job, self._connect())
            return self._runner.run(key)
        except PolicyClientError as error:  # while connecting; the runner handles later ones
            return InfrastructureError("server", str(error))
        except (InfrastructureError, StoppedError) as error:
            return error

    def close(self) -> None:
        """Frees the simulator."""
        if self._runner is not None:
            self._runner.close()


def check_policy(policy: Mapping[str, Any], protocol: Protocol, answering: Answering) -> None:
    """Checks before the first episode that a policy fits the protocol.

    Raises:
        ValueError: another robot, another image orientation than the protocol sends, or forced answers for a policy
            without questions.
    """
    protocol.check_policy(policy)
    if answering in FORCED and not policy.get("questions"):
        raise ValueError(f"--answers {answering} forces answers, but the policy asks no questions.")
