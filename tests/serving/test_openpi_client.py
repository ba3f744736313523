"""The real client of openpi, unmodified, against our server."""

import json
from pathlib import Path

import numpy as np
from openpi_client import action_chunk_broker, websocket_client_policy
import pytest

TRANSCRIPT = json.loads((Path(__file__).parents[1] / "golden/d_wire/live_transcript.json").read_text(encoding="utf-8"))
# websockets 17 warns about the way in which openpi's client connects.
pytestmark = pytest.mark.filterwarnings("ignore:connect\\(\\) must be used as a context manager:DeprecationWarning")


@pytest.fixture
def openpi(serve):
    client = websocket_client_policy.WebsocketClientPolicy("127.0.0.1", serve().port)
    yield client
    client._ws.close()


def test_metadata_comes_first(openpi):
    assert openpi.get_server_metadata() == {"robot": "libero", "horizon": 10}


def test_two_requests_have_upstreams_keys(openpi, observation):
    first, second = openpi.infer(observation(value=0.25)), openpi.infer(observation(value=0.5))
    assert first["actions"].dtype == np.float32
    np.testing.assert_array_equal(first["actions"], np.full((10, 7), 0.25, np.float32))
    np.testing.assert_array_equal(second["actions"], np.full((10, 7), 0.5, np.float32))
    np.testing.assert_array_equal(second["state"], np.full(8, 0.5))
    assert set(TRANSCRIPT["reply_keys_first"]) <= set(first)
    assert list(first["server_timing"]) == TRANSCRIPT["reply_keys_first"]["server_timing"]
    assert list(second["server_timing"]) == TRANSCRIPT["reply_keys_second_server_timing"]
    assert first["policy_timing"].keys() == {"prefill_ms", "infer_ms", "wait_ms"}
    assert first["status"] == "ok"
    assert first["answers"] == []


def test_an_error_is_raised_and_the_connection_lives_on(openpi, observation):
    bad = observation()
    del bad["observation/state"]
    with pytest.raises(RuntimeError, match=r"(?s)Error in inference server.*invalid_request.*observation/state"):
        openpi.infer(bad)
    assert openpi.infer(observation())["status"] == "ok"


def test_a_held_chunk_stops_openpis_clients(openpi, observation):
    response = openpi.infer(observation("hold"))
    assert (response["status"], response["reason"]) == ("held", "told to hold")
    with pytest.raises(KeyError, match="actions"):
        response["actions"]


def test_openpis_broker_walks_through_a_chunk_longer_than_the_state(openpi, observation):
    broker = action_chunk_broker.ActionChunkBroker(openpi, action_horizon=10)
    for _ in range(11):
        assert broker.infer(observation(value=0.125))["actions"].shape == (7,)


def test_healthz_is_upstreams(serve, get):
    assert get(serve().port, "/healthz") == (TRANSCRIPT["healthz"]["status"], TRANSCRIPT["healthz"]["body"])
