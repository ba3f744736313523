"""Errors between a client and a policy server, and their form as a text frame.

    [inspire_fast invalid_request 5b0c91d2 #7] Robot 'libero': the observation lacks ['observation/state']; ...

Every openpi client takes a text frame for an error and shows it. Ours reads the code, the id, which also is in the
server's log, and the number of the request, if that had one. A text frame of any other form is the traceback of a
foreign server, which then closes the connection; our server keeps it open.
"""

from __future__ import annotations

import enum
import re

_FRAME = re.compile(r"\[inspire_fast ([a-z_]+) ([0-9a-f]+)(?: #(\d+))?\] (.*)", re.DOTALL)


class ErrorCode(enum.StrEnum):
    """Reason of an error."""

    MALFORMED_FRAME = "malformed_frame"
    INVALID_REQUEST = "invalid_request"
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"  # the request's own `deadline_s`
    INTERNAL_ERROR = "internal_error"
    FRAME_TOO_LARGE = "frame_too_large"  # sent as close code 1009: the server did not read the frame
    FOREIGN = "foreign"  # any other text frame: openpi's server sends its traceback


def format_error(code: ErrorCode, error_id: str, message: str, *, number: int | None = None) -> str:
    """Text frame of one error, with the number of its request if that had one."""
    return f"[inspire_fast {code} {error_id}{'' if number is None else f' #{number}'}] {message}"


class PolicyClientError(RuntimeError):
    """Base class of the errors that a client raises for an unanswered request."""


class ServerError(PolicyClientError):
    """The server answered with an error.

    Attributes:
        code: an `ErrorCode`, or a code of a newer server as plain text.
        error_id: id of the error in the server's log; empty for foreign servers.
        number: of the request that it answers; None if the server does not say it.
    """

    def __init__(
        self, message: str, *, code: str = ErrorCode.FOREIGN, error_id: str = "", number: int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.error_id = error_id
        self.number = number

    @property
    def foreign(self) -> bool:
        """True if another kind of server sent the error; it will close the connection."""
        return self.code == ErrorCode.FOREIGN

    @classmethod
    def from_frame(cls, text: str) -> ServerError:
        """Text frame -> error with the server's message."""
        match = _FRAME.fullmatch(text)
        if match is None:
            return cls(f"Error in the policy server:\n{text}")
        code, error_id, number, message = match.groups()
        number = None if number is None else int(number)
        return cls(f"{message} ({code}, id {error_id})", code=code, error_id=error_id, number=number)


class RequestTimeoutError(PolicyClientError, TimeoutError):
    """No answer before the deadline. The client drops the connection, so a late answer cannot reach a later request."""


class ConnectionLostError(PolicyClientError, ConnectionError):
    """The server is unreachable, or left before it answered. The next request connects again."""


class PolicyChangedError(PolicyClientError):
    """The server came back with another policy than at first. A robot must not be moved by it: open a new client."""


class AccessDeniedError(PolicyClientError):
    """The server refused the API key or needs one, or its certificate is not trusted."""


class ProtocolError(PolicyClientError):
    """The peer does not speak openpi's protocol, or sent an invalid response."""
