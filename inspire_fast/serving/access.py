"""Access to a policy server: API keys (from a file or the environment, never logged), TLS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import hmac
import os
from pathlib import Path
import ssl

from inspire_fast.core.files import read_text

KEYS_VARIABLE = "INSPIRE_FAST_API_KEYS"
_SCHEME = "Api-Key "


def load_api_keys(file: Path | None = None, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Keys of a file (one per line, `#` comments) and of the variable `INSPIRE_FAST_API_KEYS` (comma-separated).

    Raises:
        ValueError: the file holds no key; the server would be open to everyone without a warning.
    """
    keys = [key.strip() for key in environ.get(KEYS_VARIABLE, "").split(",")]
    if file is not None:
        lines = [line.strip() for line in read_text(file).splitlines()]
        in_file = [line for line in lines if line and not line.startswith("#")]
        if not in_file:
            raise ValueError(f"The API key file {file} holds no key; write one per line.")
        keys += in_file
    return tuple(key for key in keys if key)


def load_tls(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Server side of TLS 1.2 or newer; None without files.

    Raises:
        ValueError: one file without the other, or no certificate chain with its key (PEM).
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ValueError("TLS needs both the certificate chain and its private key (PEM files).")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # SSLError is one too
        raise ValueError(f"{certificate} and {key} are no certificate chain with its private key: {error}") from error
    return context


class ApiKeys:
    """API keys of one server. Without any, everybody who reaches the port may use it."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = [key.encode() for key in keys]
        if not all(self._keys):
            raise ValueError("An API key is empty.")

    def __len__(self) -> int:
        return len(self._keys)

    def allow(self, authorization: str | None) -> bool:
        """Checks the header `Authorization: Api-Key <key>`. The time it takes tells nothing about the keys."""
        if not self._keys:
            return True
        # Headers may hold any bytes; those that are not ASCII arrive as surrogates.
        given = (authorization or "").removeprefix(_SCHEME).encode(errors="surrogateescape")
        # Compares every key, so that the time does not tell which one matched.
        matches = [hmac.compare_digest(given, key) for key in self._keys]
        return any(matches) and (authorization or "").startswith(_SCHEME)
