"""What can go wrong between a client and a policy server, and how the server words it in a text frame.

    [inspire_fast invalid_request 5b0c91d2] Robot 'libero': the observation lacks ['observation/state']; ...

A text frame is an error to every openpi client, which shows it as it is. Ours reads the code and the id (the same id
stands in the server's log). A text frame of any other form is a foreign server's traceback, after which that server
closes the connection; after ours the connection lives on.
"""

from __future__ import annotations

import enum
import re

_FRAME = re.compile(r"\[inspire_fast ([a-z_]+) ([0-9a-f]+)\] (.*)", re.DOTALL)


class ErrorCode(enum.StrEnum):
    """Why the server did not answer."""

    MALFORMED_FRAME = "malformed_frame"
    INVALID_REQUEST = "invalid_request"
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"  # the request's own `deadline_s`
    INTERNAL_ERROR = "internal_error"
    FRAME_TOO_LARGE = "frame_too_large"  # comes as close code 1009: the frame was never read
    FOREIGN = "foreign"  # a text frame that is not ours: openpi's server sends its traceback


def format_error(code: ErrorCode, error_id: str, message: str) -> str:
    """The text frame for one error."""
    return f"[inspire_fast {code} {error_id}] {message}"


class PolicyClientError(RuntimeError):
    """Base of everything that a client raises when a request was not answered."""


class ServerError(PolicyClientError):
    """The server answered with an error.

    Attributes:
        code: an `ErrorCode`, or a code of a newer server as plain text.
        error_id: finds the error in the server's log; empty for foreign servers.
    """

    def __init__(self, message: str, *, code: str = ErrorCode.FOREIGN, error_id: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.error_id = error_id

    @property
    def foreign(self) -> bool:
        """The text did not come from our server, so the connection is about to be closed."""
        return self.code == ErrorCode.FOREIGN

    @classmethod
    def from_frame(cls, text: str) -> ServerError:
        """A text frame -> the error, with the server's own words."""
        match = _FRAME.fullmatch(text)
        if match is None:
            return cls(f"Error in the policy server:\n{text}")
        code, error_id, message = match.groups()
        return cls(f"{message} ({code}, id {error_id})", code=code, error_id=error_id)


class RequestTimeoutError(PolicyClientError, TimeoutError):
    """No answer before the deadline. The connection was dropped: a late answer never reaches a later request."""


class ConnectionLostError(PolicyClientError, ConnectionError):
    """The server cannot be reached, or went away before it answered. The next request connects again."""


class AccessDeniedError(PolicyClientError):
    """The server refused the API key, or wants one."""


class ProtocolError(PolicyClientError):
    """Whatever answers at this address does not speak openpi's protocol, or sent a response that makes no sense."""
