"""Operation of a server: metrics, TLS, the live page."""

import base64
from datetime import datetime, timedelta
import http.client
import io
import json
import logging
from pathlib import Path
import shutil
import subprocess
import sys
from typing import Any

import numpy as np
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
import pytest
import trustme

from inspire_fast.client import AccessDeniedError, ServerError
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.robots import ROBOTS
from inspire_fast.serving.access import load_tls
from inspire_fast.serving.live import LiveView
from inspire_fast.serving.logs import JsonFormatter
from tests.serving.conftest import wait_until


def figures(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_what_happened(serve, connect, observation, get) -> None:
    port = serve().port
    client = connect(port)
    force = RequestOptions(mode="force", targets=["the bowl"], answers=["left"])
    client.infer(observation())
    client.infer(observation(), force)
    client.infer(observation("hold"))
    for wrong in ("crash", 7):
        with pytest.raises(ServerError):
            client.infer({**observation(), "prompt": wrong})
    status, text = get(port, "/metrics")
    assert status == 200
    seen = figures(text)
    assert seen["inspire_fast_chunks_total", "status=ok"] == 2
    assert seen["inspire_fast_chunks_total", "status=held"] == 1
    assert seen["inspire_fast_answers_total", "answer=left", "question=direction"] == 1
    assert seen["inspire_fast_errors_total", "code=internal_error"] == 1
    assert seen["inspire_fast_errors_total", "code=invalid_request"] == 1
    assert seen["inspire_fast_connections",] == 1
    assert seen["inspire_fast_waiting",] == 0
    for phase in ("wait", "infer", "total"):
        assert seen["inspire_fast_phase_seconds_count", f"phase={phase}"] == 3
    assert seen["inspire_fast_phase_seconds_sum", "phase=prefill"] == pytest.approx(2 * 1.5e-3)
    assert seen["inspire_fast_batch_rows_sum",] == 3


def test_metrics_are_behind_the_keys(serve, get) -> None:
    assert get(serve(api_keys=["key"]).port, "/metrics")[0] == 401


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> dict[str, Path]:
    folder, ca = tmp_path_factory.mktemp("tls"), trustme.CA()
    files = {name: folder / f"{name}.pem" for name in ("ca", "server", "key", "stranger")}
    server = ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(str(files["ca"]))
    trustme.CA().cert_pem.write_to_path(str(files["stranger"]))
    for n, blob in enumerate(server.cert_chain_pems):
        blob.write_to_path(str(files["server"]), append=n > 0)
    server.private_key_pem.write_to_path(str(files["key"]))
    return files


def test_tls(serve, connect, observation, certificates) -> None:
    server = serve(tls=load_tls(certificates["server"], certificates["key"]))
    assert server.uri == f"wss://127.0.0.1:{server.port}"
    client = connect(server.port, host="wss://127.0.0.1", ca_file=certificates["ca"])
    assert client.infer(observation()).status is Status.OK
    with pytest.raises(AccessDeniedError, match="is not trusted"):
        connect(server.port, host="wss://127.0.0.1", ca_file=certificates["stranger"])


def test_tls_files_are_checked_at_the_start(certificates) -> None:
    assert load_tls(None, None) is None
    with pytest.raises(ValueError, match="needs both"):
        load_tls(certificates["server"], None)
    with pytest.raises(ValueError, match="are no certificate chain"):
        load_tls(certificates["server"], certificates["ca"])


def test_a_certificate_file_is_for_tls(connect, certificates) -> None:
    with pytest.raises(ValueError, match="is for wss://"):
        connect(1, ca_file=certificates["ca"])


def live_state(port: int, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/live/state", headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, json.loads(body) if response.status == 200 else {}


def test_the_live_page_shows_the_last_exchange(serve, connect, observation, get) -> None:
    port = serve(observers=[LiveView(ROBOTS["libero"])]).port
    assert get(port, "/live")[0] == 200
    assert live_state(port) == (200, {"connections": []})
    client = connect(port)
    picture = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    seen = {**observation(value=0.25), "observation/image": picture}
    client.infer(seen, RequestOptions(mode="force", targets=["the <b>bowl"], answers=["left"]))
    # The page learns of a request after the reply, and states are shared for a tenth of a second.
    wait_until(lambda: live_state(port)[1]["connections"])
    (one,) = live_state(port)[1]["connections"]
    assert (one["prompt"], one["status"], one["mode"], one["calls"]) == ("go", "ok", "force", 1)
    assert one["answers"] == [{"question": "direction", "target": "the <b>bowl", "answer": "left", "probability": 1.0}]
    assert np.shape(one["actions"]) == (10, 7)
    assert set(one["images"]) == {"observation/image", "observation/wrist_image"}
    jpeg = base64.b64decode(one["images"]["observation/image"].partition(",")[2])
    np.testing.assert_allclose(np.asarray(Image.open(io.BytesIO(jpeg)))[16, 16], (200, 40, 90), atol=4)


@pytest.mark.parametrize("robot", ROBOTS)
def test_the_live_page_shows_the_cameras_of_every_robot_whatever_else_comes(robot: str) -> None:
    live, native = LiveView(ROBOTS[robot]), ROBOTS[robot].fake_native()
    extras = {"a": np.zeros((5, 3, 7), np.uint8), "b": np.zeros((0, 5, 3), np.uint8)}
    chunk = ActionChunk(actions=None, status=Status.HELD, reason="x")
    live.record("1", {**native, "other": extras}, RequestOptions(), chunk)
    (one,) = json.loads(live.state())["connections"]
    assert set(one["images"]) == set(ROBOTS[robot].native_images(native))


def test_the_live_page_is_off_by_default_and_behind_the_keys(serve, get) -> None:
    plain = serve().port
    assert get(plain, "/live")[0] != 200
    assert get(plain, "/live/state")[0] != 200
    kept = serve(observers=[LiveView(ROBOTS["libero"])], api_keys=["key"]).port
    assert get(kept, "/live")[0] == 200
    assert live_state(kept)[0] == 401
    assert live_state(kept, Authorization="Api-Key key") == (200, {"connections": []})


def test_a_name_that_was_made_to_point_here_sees_nothing(serve) -> None:
    port = serve(observers=[LiveView(ROBOTS["libero"])]).port
    assert live_state(port, Host=f"evil.example:{port}")[0] == 403
    assert live_state(port, Host=f"localhost:{port}")[0] == live_state(port, Host="[::1]")[0] == 200


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium on this machine (apt install chromium)")
def test_a_browser_draws_the_page(serve, connect, observation, tmp_path) -> None:
    port = serve(observers=[LiveView(ROBOTS["libero"])]).port
    client = connect(port)
    client.infer(observation("hold"))
    client.infer(observation(), RequestOptions(mode="force", targets=["the <b>bowl"], answers=["left"]))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={tmp_path}", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/live"], capture_output=True, encoding="utf-8", timeout=120, check=True
    )
    for shown in ("1 connection", "direction: the &lt;b&gt;bowl", ">left<", "data:image/jpeg", "action 6", "call 2"):
        assert shown in done.stdout, shown


def test_json_logs_are_one_object_per_line() -> None:
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError:
        record = logging.LogRecord("x", logging.ERROR, "f.py", 1, "it %s\nfailed", ("twice",), sys.exc_info())
    line = JsonFormatter().format(record)
    assert "\n" not in line
    shown = json.loads(line)
    assert shown["message"] == "it twice\nfailed"
    assert (shown["level"], shown["logger"]) == ("error", "x")
    assert "ZeroDivisionError: by zero" in shown["exception"]
    assert datetime.fromisoformat(shown["time"]).utcoffset() == timedelta(0)
