"""Server of `server_faults.py`: a process with a puppet policy and a jumping clock, which is killed and watched.

python benchmarks/faulty_server.py PORT_FILE PORT
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import logging
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

import numpy as np

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk
from inspire_fast.robots import ROBOTS
from inspire_fast.serving import PolicyServer, ServerConfig
from inspire_fast.serving.testing import PuppetPolicy

LIMIT_BYTES = 2 << 20  # of a frame
JUMP_EVERY_S = 0.25


def jump_clock(every_s: float = JUMP_EVERY_S) -> None:
    """Makes the wall clock of this process (not the monotonic one) jump by up to two days from now on."""
    offsets_s = (0, 3600, -86400, 1, 172800, -0.5, -7200)
    seconds, nanoseconds = time.time, time.time_ns

    def offset_s() -> float:
        return offsets_s[int(time.monotonic() / every_s) % len(offsets_s)]

    time.time = lambda: seconds() + offset_s()
    time.time_ns = lambda: nanoseconds() + int(1e9 * offset_s())


class _OneLine(logging.Formatter):
    """Formats without tracebacks, so that any traceback in the log is a crash."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname}|{record.name}|{record.getMessage()[:300]!r}"


class Puppets:
    """A puppet that answers several requests per call; the call crashes if one row does."""

    def __init__(self, puppet: Any) -> None:
        self._puppet = puppet
        self.metadata = puppet.metadata

    def infer(self, observation: Mapping[str, Any], options: RequestOptions | None = None) -> ActionChunk:
        """Answers one observation."""
        return self._puppet.infer(observation, options)

    def prepare(self, observation: Mapping[str, Any], options: RequestOptions) -> Any:
        """Refuses an observation that breaks the contract."""
        ROBOTS["libero"].canonical(observation)
        return observation, options

    def infer_prepared(self, prepared: Sequence[Any]) -> list[ActionChunk]:
        """Answers several observations."""
        return [self._puppet.infer(observation, options) for observation, options in prepared]


def serve(port_file: Path, port: int) -> None:
    """Runs the server."""
    jump_clock()
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    puppet = PuppetPolicy()
    puppet.prompts = deque(maxlen=8)  # pyright: ignore[reportAttributeAccessIssue]  # a list would look like a leak
    policy = Puppets(puppet)
    limits = {"max_frame_bytes": LIMIT_BYTES, "batch_sizes": (1, 2, 4, 8), "max_waiting": 24}
    PolicyServer(policy, ServerConfig(port=port, port_file=port_file, **limits)).serve_forever()


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """State of the server's process."""

    rss_mb: float
    descriptors: int
    threads: int


class Victim:
    """The server's process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port_file = folder / "port"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.starts = 0
        self.kills = 0
        self.killed_at = -np.inf
        self.back_at = np.inf
        self.deaths: list[str] = []

    def start(self) -> None:
        """Starts it at its previous port and waits until it listens."""
        log = (self._folder / f"server-{self.starts}.log").open("wb")
        command = [sys.executable, __file__, str(self._port_file), str(self.port)]
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self.starts += 1
        while not self._port_file.exists():
            if self._process.poll() is not None:
                raise SystemExit(
                    f"The server did not start; see {log.name}:\n{Path(log.name).read_text(encoding='utf-8')[-2000:]}"
                )
            time.sleep(0.02)
        self.port = int(self._port_file.read_text(encoding="utf-8"))
        self.back_at = time.monotonic()

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        assert self._process is not None
        self.killed_at, self.back_at = time.monotonic(), np.inf
        self.kills += 1
        self._process.kill()
        self._process.wait()
        self._port_file.unlink(missing_ok=True)

    def stop(self) -> None:
        """Stops it with SIGTERM; notes an end that is not orderly."""
        assert self._process is not None
        self._process.terminate()
        try:
            status = self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.deaths.append("does not end on SIGTERM")
            return
        if status != 0:
            self.deaths.append(f"ended with status {status} on SIGTERM")

    def clear_away(self) -> None:
        """Kills it if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()

    def died(self) -> bool:
        """True if it ended by itself; restarts it then."""
        assert self._process is not None
        if (status := self._process.poll()) is None:
            return False
        self.deaths.append(f"ended with status {status}")
        self.killed_at, self.back_at = time.monotonic(), np.inf
        self._port_file.unlink(missing_ok=True)
        self.start()
        return True

    def is_away(self) -> bool:
        """True between a kill and the next start."""
        return self.back_at == np.inf

    def was_down(self, since: float) -> bool:
        """True if it was killed or away since then, or a moment before (losses are noticed late)."""
        return self.killed_at >= since - 1.0 or self.back_at > since - 1.0

    def vitals(self) -> Vitals:
        """Reads its current state."""
        assert self._process is not None
        proc = Path("/proc") / str(self._process.pid)
        status = dict(line.split(":", 1) for line in (proc / "status").read_text(encoding="utf-8").splitlines())
        return Vitals(
            rss_mb=int(status["VmRSS"].split()[0]) / 1024,
            descriptors=len(list((proc / "fd").iterdir())),
            threads=int(status["Threads"]),
        )

    def crashes(self) -> list[str]:
        """Deaths, and log lines of exceptions that escaped."""
        found = list(self.deaths)
        for path in sorted(self._folder.glob("server-*.log")):
            for line in path.read_text(errors="replace", encoding="utf-8").splitlines():
                level, _, rest = line.partition("|")
                ours = rest.startswith("inspire_fast.")
                if "Traceback" in line or "Exception" in line.partition(":")[0] or (level == "ERROR" and not ours):
                    found.append(line[:300])
        return found


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
