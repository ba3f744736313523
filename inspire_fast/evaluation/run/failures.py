"""Infrastructure failures: errors of simulator, server, disk or worker that say nothing about the policy.

An episode with such a failure does not count; the next start of the evaluation runs it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
import contextlib
from dataclasses import dataclass
import errno
from pathlib import Path
import traceback
from typing import Any, Literal

from inspire_fast.client import ErrorCode, PolicyChangedError, PolicyClientError, RequestTimeoutError
from inspire_fast.client.errors import ServerError
from inspire_fast.core.cli import CommandError
from inspire_fast.core.episode import Infer
from inspire_fast.core.files import read_json_lines
from inspire_fast.core.types import ActionChunk
from inspire_fast.envs.gl import RenderingUnavailableError
from inspire_fast.evaluation.records.records import Key

FILE = "failures.jsonl"
Kind = Literal["server", "late", "crash", "disk", "worker", "policy"]
# Error codes about one observation: failures of the policy, on which the robot holds. All others are the server's.
_POLICY_CODES = (ErrorCode.INVALID_REQUEST,)
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class InfrastructureError(Exception):
    """An episode could not be finished for reasons other than the policy.

    Attributes:
        kind: `server` (gone, overloaded, failing), `late` (no answer by the deadline), `crash` (of the simulator, or
            a bug), `disk`, `worker` (its process ended), `policy` (the server now has another policy than at the start
            of the evaluation).
        reason: the message.
    """

    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(kind, reason)  # both, because pickling between processes calls `__init__` with these
        self.kind: Kind = kind
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


class StoppedError(CommandError):
    """The evaluation cannot continue; finished episodes are kept."""

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
        """The episode's key."""
        return self.suite, self.task, self.episode


def failure(key: Key, error: InfrastructureError) -> Failure:
    """The line of `failures.jsonl` for an episode."""
    return Failure(suite=key[0], task=key[1], episode=key[2], kind=error.kind, reason=error.reason)


def read_failures(folder: Path) -> list[Failure]:
    """Reads all complete lines; an episode may have failed several times, and may be finished by now."""
    return [Failure(**line) for line in read_json_lines(folder / FILE)]


def raising_infrastructure_errors(infer: Callable[[Mapping[str, Any]], ActionChunk]) -> Infer:
    """Wraps a policy: failures of server and connection become `InfrastructureError`, its own errors stay."""

    def guarded(observation: Mapping[str, Any]) -> ActionChunk:
        try:
            return infer(observation)
        except (RequestTimeoutError, TimeoutError) as error:
            raise InfrastructureError("late", str(error)) from error
        except ServerError as error:
            if error.code in _POLICY_CODES:
                raise
            late = error.code == ErrorCode.DEADLINE_EXCEEDED
            raise InfrastructureError("late" if late else "server", str(error)) from error
        except PolicyChangedError as error:
            raise InfrastructureError("policy", str(error)) from error
        except (PolicyClientError, OSError, MemoryError) as error:
            raise InfrastructureError("server", f"{error}") from error

    return guarded


@contextlib.contextmanager
def infrastructure_errors() -> Iterator[None]:
    """Turns errors of the block into `InfrastructureError`: `disk` for a failing disk, else `crash`.

    Raises:
        StoppedError: rendering is impossible on this machine, or a package is missing: no episode can be run.
    """
    try:
        yield
    except (InfrastructureError, StoppedError):
        raise
    except (ImportError, RenderingUnavailableError) as error:
        raise StoppedError(str(error)) from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK:
            raise InfrastructureError("disk", f"{error}. Make room; finished episodes are kept.") from error
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        raise InfrastructureError("crash", f"{type(error).__name__} at {where}: {error}") from error
