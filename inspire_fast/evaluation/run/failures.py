"""What went wrong with the machine and says nothing about the policy. Such an episode is not counted, and run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import contextlib
from dataclasses import dataclass
import errno
import json
from pathlib import Path
import traceback
from typing import Any, Literal

from inspire_fast.client import ErrorCode, PolicyClientError, RequestTimeoutError
from inspire_fast.client.errors import ServerError
from inspire_fast.core.cli import CommandError
from inspire_fast.core.types import ActionChunk
from inspire_fast.envs.gl import RenderingUnavailableError
from inspire_fast.evaluation.run.episodes import Key
from inspire_fast.robots.control.broker import Infer

FILE = "failures.jsonl"
Kind = Literal["server", "late", "crash", "disk", "worker", "policy"]
# What a server says about one observation, as opposed to about itself: the policy's own, so the robot holds.
_POLICY_CODES = (ErrorCode.INVALID_REQUEST,)
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class MachineError(Exception):
    """An episode that could not be finished. Not one of the errors on which the control loop holds.

    Attributes:
        kind: `server` (gone, overloaded, failing), `late` (no answer by the deadline), `crash` (of the simulator, or
            a bug), `disk`, `worker` (a process that ended), `policy` (another one answers now than the evaluation was
            begun with).
    """

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(kind, reason)  # both, so that it travels between processes
        self.kind: Kind = kind
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


class StoppedError(CommandError):
    """The evaluation cannot go on; what is finished is kept."""

    exit_status = 3


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One line of `failures.jsonl`."""

    suite: str
    task: int
    episode: int
    kind: Kind
    reason: str

    @property
    def key(self) -> Key:
        """Which episode it was."""
        return self.suite, self.task, self.episode


def failure(key: Key, error: MachineError) -> Failure:
    """What is written down about an episode."""
    return Failure(suite=key[0], task=key[1], episode=key[2], kind=error.kind, reason=error.reason)


def read_failures(folder: Path) -> list[Failure]:
    """Every complete line; an episode may have failed several times, and been finished since."""
    path = folder / FILE
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [Failure(**json.loads(line)) for line in lines]


def unless_machine(infer: Callable[[Mapping[str, Any]], ActionChunk]) -> Infer:
    """A policy whose machine's failures end the episode as `MachineError`; its own errors make the robot hold."""

    def asking(observation: Mapping[str, Any]) -> ActionChunk:
        try:
            return infer(observation)
        except (RequestTimeoutError, TimeoutError) as error:
            raise MachineError("late", str(error)) from error
        except ServerError as error:
            if error.code in _POLICY_CODES:
                raise
            raise MachineError("late" if error.code == ErrorCode.DEADLINE_EXCEEDED else "server", str(error)) from error
        except (PolicyClientError, OSError, MemoryError) as error:
            raise MachineError("server", f"{error}") from error

    return asking


@contextlib.contextmanager
def blamed_on_the_machine() -> Iterator[None]:
    """Errors inside the block, but for those that say so already, are the simulator's or the disk's.

    Raises:
        StoppedError: nothing can be rendered here, or a package is missing: no episode can be run.
    """
    try:
        yield
    except (MachineError, StoppedError):
        raise
    except (ImportError, RenderingUnavailableError) as error:
        raise StoppedError(str(error)) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK:
            raise MachineError("disk", f"{error}. Make room; finished episodes are kept.") from error
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        raise MachineError("crash", f"{type(error).__name__} at {where}: {error}") from error
