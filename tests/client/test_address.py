import pytest

from inspire_fast.client import PolicyClient
from inspire_fast.client.address import server_uri


@pytest.mark.parametrize(
    ("host", "port", "uri"),
    [
        ("127.0.0.1", 8000, "ws://127.0.0.1:8000"),
        ("robot.local", 8000, "ws://robot.local:8000"),
        ("policy_server", None, "ws://policy_server"),
        ("robot.local:8000", None, "ws://robot.local:8000"),
        ("robot.local:8000", 8000, "ws://robot.local:8000"),
        ("::1", 8000, "ws://[::1]:8000"),
        ("[::1]", 8000, "ws://[::1]:8000"),
        ("[::1]:8000", None, "ws://[::1]:8000"),
        ("::", None, "ws://[::]"),
        ("fe80::1%eth0", 8000, "ws://[fe80::1%eth0]:8000"),
        ("ws://[::1]:8000", None, "ws://[::1]:8000"),
        ("ws://robot", 8000, "ws://robot:8000"),
        ("wss://robot.example/pi0?a=1", None, "wss://robot.example/pi0?a=1"),
        ("wss://robot.example/pi0", 443, "wss://robot.example:443/pi0"),
    ],
)
def test_addresses_as_people_write_them(host, port, uri):
    assert server_uri(host, port) == uri


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("http://127.0.0.1", 8000, "'http://127.0.0.1' is not the address of a policy server.*ws://"),
        ("https://robot.example", None, "begins with ws:// or wss://"),
        ("tcp://127.0.0.1", 8000, "ws:// or wss://"),
        ("", 8000, "'' is not the address"),
        ("a b", 8000, "'a b' is not the address"),
        ("ws://a b", None, "names no host"),
        ("ws://", 8000, "names no host"),
        ("ws://robot:port", None, "is not the address"),
        ("robot/pi0", 8000, "is not the address"),
        ("[::1", 8000, "is not the address"),
        ("ws://robot:9000", 8000, "has the port 9000, and port 8000 is given"),
        ("robot", 70000, "1 .. 65535; got 70000"),
        ("robot", 0, "1 .. 65535; got 0"),
    ],
)
def test_what_cannot_be_an_address_is_said_at_once(host, port, message):
    with pytest.raises(ValueError, match=message):
        PolicyClient(host, port, connect_timeout_s=30)
