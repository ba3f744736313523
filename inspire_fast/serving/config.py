"""Settings of a policy server: address, access, limits and batching."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import ssl

from inspire_fast.core.ranges import Count, NotNegative, Port, Positive, require_ranges

MAX_FRAME_BYTES = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Settings of one `PolicyServer`.

    Attributes:
        host: address to listen on. Anything but loopback should come with `api_keys`.
        port: 0 takes a free one.
        port_file: holds the port while the server listens, so that a parent process can find it.
        api_keys: accepted keys (see `access.load_api_keys`); without any, everybody who reaches the port is served.
        tls: serves `wss://`; see `access.load_tls`.
        origins: accepted `Origin` headers. Browsers send one, robots do not (None): by default no web page that is
            open on this machine can talk to the server.
        max_frame_bytes: a larger request closes its connection with code 1009 before it is read.
        ping_timeout_s: a client that answers no ping for so long is dropped; None never does. Simulators that load a
            scene and stopped processes answer none, and openpi's clients do not connect again.
        batch_sizes: requests per call of the policy. The largest size that the queue fills is taken, since every size
            is a compiled program of its own. Must hold 1; larger sizes need a `BatchPolicy`.
        max_wait_s: longest time that the first request of a batch waits for others.
        max_waiting: requests in the queue before further ones are refused as overloaded.
        drain_s: longest time that a stopping server waits for the answers it owes.
        openpi_errors: sends errors as openpi's server does (traceback, then close with code 1011).

    Raises:
        ValueError: `batch_sizes` without 1, or with a smaller one; a limit that is not positive.
    """

    host: str = "127.0.0.1"
    port: Port = 0
    port_file: Path | None = None
    api_keys: tuple[str, ...] = ()
    tls: ssl.SSLContext | None = None
    origins: tuple[str | None, ...] = (None,)
    max_frame_bytes: Count = MAX_FRAME_BYTES
    ping_timeout_s: Positive | None = 600.0
    batch_sizes: tuple[Count, ...] = (1,)
    max_wait_s: NotNegative = 0.005
    max_waiting: Count = 64
    drain_s: NotNegative = 10.0
    openpi_errors: bool = False

    def __post_init__(self) -> None:
        require_ranges(self)
        if min(self.batch_sizes, default=0) != 1:
            raise ValueError(f"batch_sizes must hold 1 and no smaller size; got {list(self.batch_sizes)}.")
