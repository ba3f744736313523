"""Stop channel: a Unix socket by which any process of the same user stops an arm, whatever its control loop does."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
import socket
import stat
import tempfile
import time

from inspire_fast.robots.arms.base import ArmError

FOLDER_VARIABLE = "INSPIRE_FAST_STOP_FOLDER"
_BYTES, _PATH_BYTES, _NAME_BYTES = 1024, 107, 40  # a Unix socket's path has at most 107 bytes


def folder() -> Path:
    """The folder of the stop channels of this user's arms; made if it is missing.

    It is the same for every process of the user, in a login, a cron job or a service: `/tmp/inspire-fast-arms-<uid>`.
    `TMPDIR` and `XDG_RUNTIME_DIR` differ among those, and the latter goes away with the last login.
    `INSPIRE_FAST_STOP_FOLDER` names another one.

    Raises:
        ArmError: it cannot be made, its path is too long for a socket, or others may write there.
    """
    place = Path(os.environ.get(FOLDER_VARIABLE) or f"/tmp/inspire-fast-arms-{os.getuid()}").absolute()
    do = f"Set {FOLDER_VARIABLE} to a folder of your own, the same for every process."
    if (length := len(os.fsencode(place))) > (most := _PATH_BYTES - _NAME_BYTES):
        raise ArmError(f"The stop channels' folder {place} has {length} bytes, sockets in it allow {most}. {do}")
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        found = place.lstat()
    except OSError as error:
        raise ArmError(f"The stop channels' folder {place} cannot be made: {error.strerror}. {do}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise ArmError(f"The stop channels' folder {place} is not a folder that only you may write to. {do}")
    return place


class StopChannel:
    """The arm's end."""

    def __init__(self, name: str) -> None:
        """Opens the channel `<name>-<process>`; a long name is cut, and becomes ASCII.

        Raises:
            ArmError: see `folder`.
        """
        self.path = folder() / f"{name[:20].encode('ascii', 'replace').decode()}-{os.getpid()}.stop"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)

    def requested(self) -> tuple[str, str] | None:
        """Reason and sender's address of a stop that somebody has asked for; None: nobody has."""
        try:
            message, sender = self._socket.recvfrom(_BYTES)
        except BlockingIOError:
            return None
        return message.decode("utf-8", "replace"), str(sender or "")

    def tell(self, sender: str, what: str) -> None:
        """Answers a sender; one that has gone is told nothing."""
        with contextlib.suppress(OSError):
            self._socket.sendto(what.encode(), sender)

    def close(self) -> None:
        """Removes the channel."""
        self._socket.close()
        self.path.unlink(missing_ok=True)


def stop_arms(reason: str, *, answer_s: float = 3.0) -> dict[str, str]:
    """Stops every arm of this user; channel -> what it answered once it rests, or why it did not answer."""
    told: dict[str, str] = {}
    with (
        tempfile.TemporaryDirectory(dir=folder()) as place,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mine,
    ):
        mine.bind(str(Path(place) / "answer"))
        for channel in sorted(folder().glob("*.stop")):
            try:
                mine.sendto(reason.encode(), str(channel))
                told[channel.stem] = ""
            except OSError as error:  # its process ended without a word
                told[channel.stem] = f"no process answers there any more ({error.strerror})"
                channel.unlink(missing_ok=True)
        end = time.monotonic() + answer_s
        while "" in told.values() and (left := end - time.monotonic()) > 0:
            mine.settimeout(left)
            with contextlib.suppress(TimeoutError):
                answer, sender = mine.recvfrom(_BYTES)
                told[Path(sender).stem] = answer.decode()
    return {
        name: answer or f"no answer within {answer_s:g} s: press the robot's own button"
        for name, answer in told.items()
    }
