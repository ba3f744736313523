"""Addresses of policy servers, as people write them."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_HOST = re.compile(r"[^\s/?#@\[\]:]+(:\d+)?|\[[^\s\[\]]+\](:\d+)?")


def server_uri(host: str, port: int | None = None) -> str:
    """Host and port -> `ws://host:port`, without a connection or a look-up.

        127.0.0.1, 8000            ws://127.0.0.1:8000
        robot.local:8000           ws://robot.local:8000
        ::1, 8000                  ws://[::1]:8000        (also [::1])
        wss://robot.example/pi0    as it is

    Raises:
        ValueError: it cannot be an address of a policy server, or the port is given twice.
    """
    name = f"[{host}]" if _is_ipv6(host) else host
    scheme, mark, _ = name.partition("://")
    if not mark and _HOST.fullmatch(name):
        name = f"ws://{name}"
    elif scheme not in ("ws", "wss") or not mark:
        raise ValueError(
            f"{host!r} is not the address of a policy server. Give a host name or an IP address (robot.local, ::1), or "
            "a whole address that begins with ws:// or wss://."
        )
    try:
        parts = urlsplit(name)
        given = parts.port
    except ValueError as error:
        raise ValueError(f"{host!r} is not the address of a policy server: {error}.") from error
    if not parts.hostname or re.search(r"\s", name):
        raise ValueError(f"{host!r} is not the address of a policy server: it names no host.")
    if port is None or given == port:
        return name
    if given is not None:
        raise ValueError(f"The address {host!r} has the port {given}, and port {port} is given, too; leave one out.")
    if not 0 < port < 2**16:
        raise ValueError(f"A port is 1 .. 65535; got {port}.")
    return parts._replace(netloc=f"{parts.netloc}:{port}").geturl()


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
