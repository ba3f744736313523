"""Evaluation on SimplerEnv: protocols, pictures, ensemble, rule of success, our server and one of openpi."""

from collections.abc import Iterator, Mapping
import contextlib
from dataclasses import asdict, replace
import json
from pathlib import Path
import threading
from typing import Any, cast

import cv2
import numpy as np
from openpi_client import msgpack_numpy
import pytest
from websockets.sync.server import ServerConnection, serve

from inspire_fast.client import PolicyClient
from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.data.images import shrink
from inspire_fast.envs.simpler.environment import SimplerEnvironment
from inspire_fast.envs.simpler.maniskill2 import ManiSkill2
from inspire_fast.envs.simpler.maniskill3 import ManiSkill3
from inspire_fast.envs.simpler.tasks import find_task
from inspire_fast.envs.simpler.testing import FakeManiSkill2, FakeManiSkill3
from inspire_fast.evaluation.report.page import write_page
from inspire_fast.evaluation.run.ensemble import CosineEnsemble, cosine_weighted
from inspire_fast.evaluation.run.episodes import list_episodes
from inspire_fast.evaluation.run.evaluate import in_this_process, run_missing_episodes
from inspire_fast.evaluation.run.protocols import PROTOCOLS, protocol_from
from inspire_fast.evaluation.run.runner import Job, check_policy
from inspire_fast.evaluation.run.simpler import SimplerProtocol, digest
from inspire_fast.robots.control.environment import Environment
from inspire_fast.serving.background import serve_in_background
from inspire_fast.serving.config import ServerConfig
from inspire_fast.serving.serve import build_server
from inspire_fast.serving.testing import PuppetPolicy

WIDOWX, GOOGLE = (cast("SimplerProtocol", PROTOCOLS[name]) for name in ("simpler_widowx_ms3", "simpler_google"))
SHORT = replace(
    WIDOWX, name="short", max_steps={"simpler_widowx": 6, "simpler_widowx:3": 8}, ensemble=0, execute=3, image_px=64
)
SHORT_GOOGLE = replace(GOOGLE, name="short google", max_steps=dict.fromkeys(GOOGLE.max_steps, 6))
CARROT = ("simpler_widowx", 1, 0)


def faked(suite: str, task: int, job: Job) -> Environment:
    found = find_task(suite, task)
    assert isinstance(job.protocol, SimplerProtocol)
    simulator = ManiSkill3(FakeManiSkill3(found)) if found.maniskill3 else ManiSkill2(FakeManiSkill2())
    return job.protocol.view(SimplerEnvironment(found, simulator, sticky_steps=job.protocol.sticky_steps))


@pytest.mark.parametrize(
    ("name", "pinned"),
    [
        ("simpler_widowx_ms3", "d8b5e310c399"),
        ("simpler_widowx_starvla_ms3", "6104c5d8793e"),
        ("simpler_google", "e75479830807"),
    ],
)
def test_protocols_are_pinned(name: str, pinned: str) -> None:
    protocol = PROTOCOLS[name]
    assert protocol.hash == pinned
    assert protocol_from(json.loads(json.dumps(asdict(protocol)))) == protocol


def test_episodes_and_limits_are_the_published_ones() -> None:
    assert len(list_episodes(WIDOWX)) == 4 * 24
    assert len(list_episodes(PROTOCOLS["simpler_widowx_starvla_ms3"])) == 4 * 24 * 4
    assert len(list_episodes(GOOGLE)) == 300 + 240 + 216 + 108
    assert [WIDOWX.limit("simpler_widowx", task) for task in range(4)] == [60, 60, 60, 120]
    assert GOOGLE.limit("simpler_google_drawer", 5) == 113
    assert list_episodes(WIDOWX, only=["simpler_widowx:3"], episodes=2) == [("simpler_widowx", 3, n) for n in (0, 1)]
    for only, words in (("simpler_widowx:4", r"tasks 0\.\.3; got 4"), ("libero_goal:0", "Unknown SimplerEnv suite")):
        with pytest.raises(ValueError, match=words):
            list_episodes(WIDOWX, only=[only])


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="execute must be 1 with ensemble=7"):
        WIDOWX.changed(execute=4)
    assert WIDOWX.changed(execute=4, ensemble=0).name == "simpler_widowx_ms3 with other ensemble, execute"
    with pytest.raises(ValueError, match="sticky_steps is for Google Robot's gripper"):
        WIDOWX.changed(sticky_steps=15)
    with pytest.raises(ValueError, match="sticky_steps is for Google Robot's gripper, which needs it; got 0"):
        replace(GOOGLE, sticky_steps=0)
    with pytest.raises(ValueError, match=r"has no \['camera_px'\]"):
        WIDOWX.changed(camera_px=256)
    with pytest.raises(ValueError, match=r"has no \['assets'\]"):
        PROTOCOLS["openpi"].changed(assets="real")
    with pytest.raises(ValueError, match="drives 'libero'; protocol 'simpler_widowx_ms3' is of 'widowx_bridge'"):
        check_policy({"robot": "libero"}, WIDOWX, "own")
    check_policy({}, WIDOWX, "own")  # openpi's server says nothing
    with pytest.raises(ValueError, match="no disturbances"):
        WIDOWX.environment("simpler_widowx", 0, {}, {"lighting": 1})
    with pytest.raises(ValueError, match="needs ManiSkill 2"):
        GOOGLE.environment("simpler_google_coke", 0, {}, {})


@pytest.mark.parametrize("hw", [(480, 640), (512, 640), (448, 448), (224, 300)])
def test_squeezed_pictures_are_opencvs_by_area(hw: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*hw, 3), dtype=np.uint8)
    ours = shrink(image, 224, 224)
    theirs = cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA)
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01
    np.testing.assert_array_equal(shrink(np.stack([image] * 2), 224, 224)[1], ours)
    with pytest.raises(ValueError, match="makes pictures smaller; got 224 x 224 px for 225 x 224"):
        shrink(ours, 225, 224)


def test_an_ensemble_is_the_mean_of_what_recent_chunks_say_of_this_step() -> None:
    chunks = iter([[[1.0], [2.0], [3.0]], [[10.0], [20.0], [30.0]], [[100.0]], None, [[7.0], [8.0]]])

    def infer(observation: Mapping[str, Any]) -> ActionChunk:
        actions = next(chunks)
        if actions is None:
            return ActionChunk(actions=None, status=Status.HELD, reason="no")
        return ActionChunk(actions=np.array(actions, np.float32))

    ensemble = CosineEnsemble(infer, horizon=2, alpha=0.0)
    said = [ensemble({}) for _ in range(5)]
    assert [None if chunk.actions is None else chunk.actions.tolist() for chunk in said] == [
        [[1.0]],
        [[6.0]],  # 2 and 10
        [[60.0]],  # 20 and 100; the first chunk is forgotten
        None,
        [[7.0]],  # nothing from before the hold
    ]


def test_predictions_unlike_the_newest_weigh_less() -> None:
    newest, like, unlike = [1.0, 0.0], [2.0, 0.0], [0.0, 1.0]
    weights = np.exp([0.5, 0.0, 0.5])
    expected = (np.array([like, unlike, newest]) * (weights / weights.sum())[:, None]).sum(0)
    np.testing.assert_allclose(cosine_weighted(np.array([like, unlike, newest]), 0.5), expected, atol=1e-6)


def drive(view: Environment, steps: int, move: np.ndarray) -> list[bool]:
    """Carries the carrot to the plate with exact moves; success after every step."""
    said = []
    for step in range(steps):
        facts = view.facts()
        assert facts is not None
        carrot, plate = (np.array(target.offset_m) for target in facts.targets)
        offset, gripper = [(carrot, 1), (carrot, 1), (0 * carrot, 0), (plate, 0), (plate, 0)][min(step, 4)]
        if step >= 5:
            offset, gripper = (0 * carrot, 1) if step == 5 else (move, 1)
        view.step(np.array([*np.clip(offset, -0.1, 0.1), 0, 0, 0, gripper], np.float32))
        said.append(view.success)
    return said


@pytest.mark.parametrize(("mode", "expected"), [("any_step", [5, 6, 7]), ("last_step", [7])])
def test_success_counts_at_any_step_or_after_the_last_one(mode: str, expected: list[int]) -> None:
    protocol = SHORT.changed(success_mode=mode, max_steps={"simpler_widowx": 8})
    view = faked("simpler_widowx", 1, Job(protocol=protocol, policy={}))
    for _ in range(2):
        view.reset(3)
        said = drive(view, 8, np.zeros(3))
        assert [n for n, solved in enumerate(said) if solved] == expected


@pytest.mark.parametrize("fit", ["squeeze", "pad"])
def test_facts_are_of_the_picture_that_is_sent(fit: str) -> None:
    view = faked("simpler_widowx", 1, Job(protocol=SHORT.changed(fit=fit), policy={}))
    view.reset(0)
    image = view.observe()["observation/primary_image"]
    assert image.shape == (64, 64, 3)
    facts = view.facts()
    assert facts is not None
    for target, colour in zip(facts.targets, ((240, 130, 30), (230, 230, 90)), strict=True):
        y, x = (int(at * 64) for at in target.point_px or ())
        assert np.abs(image[y, x].astype(int) - colour).max() < 20
    assert (image[:8] == 0).all() == (fit == "pad")


@contextlib.contextmanager
def openpi_server(seen: list[dict[str, Any]]) -> Iterator[int]:
    """A server as openpi's: no metadata, openpi's frames."""

    def handle(socket: ServerConnection) -> None:
        socket.send(msgpack_numpy.packb({}))
        for frame in socket:
            seen.append(msgpack_numpy.unpackb(frame))
            actions = np.tile(np.array([0, 0, -0.01, 0, 0, 0.05, 0], np.float32), (4, 1))
            socket.send(msgpack_numpy.packb({"actions": actions}))

    server = serve(handle, "127.0.0.1", 0, compression=None, max_size=None)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.socket.getsockname()[1]
    finally:
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("protocol", [SHORT, SHORT_GOOGLE], ids=lambda protocol: protocol.name)
def test_a_server_of_openpi_is_driven_with_its_keys(protocol: SimplerProtocol, tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    key = (protocol.suites[0], 1, 0)
    with openpi_server(seen) as port, PolicyClient("127.0.0.1", port) as client:
        job = Job(
            protocol=protocol, policy=dict(client.metadata), name="theirs", videos="none", out=tmp_path, make=faked
        )
        (record,) = run_missing_episodes(job, [key], in_this_process(client))
    assert (record.stopped, record.steps, len(record.calls)) == ("max_steps", 6, 6 // protocol.execute)
    assert {name: np.shape(part) for name, part in seen[0].items()} == {
        "observation/primary_image": (protocol.image_px, protocol.image_px, 3),
        "observation/state": (8,),
        "prompt": (),
    }


def test_our_server_is_driven_and_the_page_states_the_protocol(tmp_path: Path) -> None:
    policy = PuppetPolicy(robot="widowx_bridge")
    config = ServerConfig(host="127.0.0.1", port=0)
    with serve_in_background(build_server(policy, config)) as server, PolicyClient("127.0.0.1", server.port) as client:
        job = Job(protocol=SHORT, policy=dict(client.metadata), name="puppet", videos="calls", out=tmp_path, make=faked)
        found = run_missing_episodes(job, [CARROT], in_this_process(client))
    assert [record.stopped for record in found] == ["max_steps"]
    assert (tmp_path / "simpler_widowx_1_0.mp4").stat().st_size > 0
    page = write_page(tmp_path).read_text(encoding="utf-8")
    assert "SimplerEnv evaluation" in page
    assert "ManiSkill 3.0.1, real assets; success counts after the last step" in page
    assert "gripper not sticky" in page
    stored = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))["settings"]
    assert stored["protocol"]["fit"] == "squeeze"


def test_other_assets_have_another_digest(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mesh.obj").write_bytes(b"1")
    first = digest(tmp_path)
    (tmp_path / "a" / "mesh.obj").write_bytes(b"2")
    assert digest(tmp_path) != first
    (tmp_path / "a" / "mesh.obj").write_bytes(b"1")
    assert digest(tmp_path) == first
