"""The command line of the policy server: upstream's, today's, and what is refused."""

from pathlib import Path
import sys

import numpy as np
import pytest

from inspire_fast.client import PolicyClient
from inspire_fast.commands.serve_policy import (
    Checkpoint,
    Default,
    Replay,
    ServeArgs,
    load,
    main,
    open_recorder,
    parse,
    server_of,
)
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import Status
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.testing import write_fake_dataset
from inspire_fast.policy import load as policy_load
from inspire_fast.policy.load import Tokenizers
from inspire_fast.policy.policy import ServingOptions
from inspire_fast.policy.replay import ReplayPolicy
from inspire_fast.robots import ROBOTS
from inspire_fast.serving import serve_in_background
from inspire_fast.serving.config import ServerConfig
from inspire_fast.serving.recording import list_segments

UPSTREAM = ("policy:checkpoint", "--policy.config=pi0_fast_libero", "--policy.dir=runs/9")


@pytest.fixture
def loads(monkeypatch):
    """(step, options) of every policy that would have been loaded; of an import, its config and tokenizers, too."""
    calls = []

    def imported(step, config, _, *, tokenizers):
        calls.append((step, config, tokenizers))
        return step

    monkeypatch.setattr(policy_load, "import_checkpoint", imported)
    monkeypatch.setattr(policy_load.InspirePolicy, "load", lambda step, **options: calls.append((step, options)))
    return calls


def test_without_arguments_the_shipped_policy_is_served():
    args = parse([])
    assert args == ServeArgs()
    assert args.policy == Default()
    policy = load(args)
    assert policy.metadata["robot"] == "libero"
    chunk = policy.infer(ROBOTS["libero"].fake_native())
    assert chunk.status is Status.OK
    assert chunk.actions.shape == (10, 7)


@pytest.mark.parametrize(
    "line",
    [
        ("--port=8001", "--env", "LIBERO", *UPSTREAM),
        (*UPSTREAM, "--port", "8001", "--env=LIBERO"),
        (
            "policy:checkpoint",
            "--policy.config",
            "pi0_fast_libero",
            "--port=8001",
            "--policy.dir",
            "runs/9",
            "--env=LIBERO",
        ),
    ],
)
def test_upstreams_command_is_understood_in_any_order(line):
    args = parse(line)
    assert args.policy == Checkpoint(config="pi0_fast_libero", dir="runs/9")
    assert (args.port, args.env) == (8001, "LIBERO")


def test_a_named_checkpoint_is_loaded(loads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    step = Path("runs/9")
    (step / "params").mkdir(parents=True)
    load(parse(("--weights=int8", "--env=DROID", *UPSTREAM, "--policy.text-tokenizer=tok", "--policy.download")))
    tokenizers = Tokenizers(text=Path("tok"), download=True)
    assert loads == [(step, "pi0_fast_libero", tokenizers), (step, {"serving": ServingOptions(weights="int8")})]
    folder = tmp_path / "bucket/x"
    (folder / "params").mkdir(parents=True)
    config = "--policy.config=pi0_fast_droid"
    load(parse(("policy:checkpoint", config, "--policy.dir=gs://bucket/x", f"--cache-dir={tmp_path}")))
    assert loads[2][:2] == (folder, "pi0_fast_droid")


def test_a_plain_checkpoint_is_loaded(loads, tmp_path):
    contract = tmp_path / "run" / "7" / "assets" / "contract.json"
    contract.parent.mkdir(parents=True)
    contract.touch()
    (tmp_path / "run" / "7" / "params").mkdir()
    load(parse(("--checkpoint", str(tmp_path / "run"), "--no-speculate")))
    assert loads == [(tmp_path / "run" / "7", {"serving": ServingOptions(speculate=False)})]


@pytest.mark.parametrize("line", [("--env", "LIBERO"), ("--env=LIBERO", "policy:default")])
def test_the_default_policy_of_an_environment_is_loaded(line, loads, tmp_path, monkeypatch):
    args = parse((*line, "--cache-dir", str(tmp_path)))
    monkeypatch.setitem(sys.modules, "gcsfs.core", None)  # as without the extra `gcs`
    with pytest.raises(FileNotFoundError, match="gsutil -m cp -r gs://openpi-assets/checkpoints/pi0_fast_libero"):
        load(args)
    folder = tmp_path / "openpi-assets/checkpoints/pi0_fast_libero"
    (folder / "params").mkdir(parents=True)
    load(args)
    assert loads[0][:2] == (folder, "pi0_fast_libero")


def test_a_replay_is_loaded(tmp_path):
    root = write_fake_dataset(tmp_path / "fake", episodes=2)
    line = ("policy:replay", f"--policy.root={root}", "--policy.robot=libero", "--policy.episode=1", "--policy.loop")
    args = parse((*line, "--policy.execute", "5"))
    assert args.policy == Replay(root=root, robot="libero", episode=1, execute=5, loop=True)
    policy = load(args)
    assert isinstance(policy, ReplayPolicy)
    assert policy.metadata["replay"].endswith("episode 1")


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        (
            ("--checkpoint=a", *UPSTREAM),
            ValueError,
            "--checkpoint would have no effect: policy:checkpoint names another",
        ),
        (("--checkpoint=a", "--env=LIBERO"), ValueError, "--env would have no effect: --checkpoint says what to serve"),
        (("--env=ALOHA_SIM",), ValueError, "no default policy for ALOHA_SIM"),
        (
            ("policy:replay", "--policy.root=a", "--policy.robot=libero", "--weights=int8"),
            ValueError,
            "--weights would have no effect: policy:replay runs no model",
        ),
        (("policy:replay", "--policy.root=a", "--policy.robot=libro"), KeyError, "Did you mean 'libero'"),
    ],
)
def test_contradictions_are_refused(line, error, words, loads):
    with pytest.raises(error, match=words):
        load(parse(line))
    assert loads == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("--env=libero",), "LIBERO"),
        (("policy:chekpoint",), "policy:checkpoint"),
        (("--chekpoint=a",), "--checkpoint"),
        (("policy:checkpoint", "--policy.config=a"), "--policy.dir"),
    ],
)
def test_typing_errors_are_answered_with_what_there_is(line, words, capsys):
    with pytest.raises(SystemExit):
        parse(line)
    output = capsys.readouterr()
    assert words in output.out + output.err


@pytest.mark.parametrize(
    ("line", "folder"),
    [
        (("--record", "there"), "there"),
        (("--record=there", *UPSTREAM), "there"),
        (("--record",), "policy_records"),
        (("--record", "--port=1"), "policy_records"),
        (("--record", *UPSTREAM), "policy_records"),
        ((*UPSTREAM, "--record"), "policy_records"),
    ],
)
def test_record_takes_a_folder_or_upstreams(line, folder):
    assert parse(line).record == Path(folder)


def test_a_recorder_is_opened_only_when_asked_for(tmp_path, capsys):
    policy = ReplayPolicy(write_fake_dataset(tmp_path / "fake", episodes=1), robot=ROBOTS["libero"])
    assert open_recorder(parse([]), policy) == ()
    with pytest.raises(ValueError, match="--record-max-gb would have no effect"):
        open_recorder(parse(["--record-max-gb=1"]), policy)
    with pytest.raises(SystemExit):
        parse([f"--record={tmp_path / 'a'}", "--record-max-gb=0"])
    assert "record_max_gb must be a number, above 0" in capsys.readouterr().err.replace("\n", " ")
    (recorder,) = open_recorder(parse([f"--record={tmp_path / 'a'}", "--default-prompt=go"]), policy)
    observation = ROBOTS["libero"].fake_native(image_hw=(16, 16))
    del observation["prompt"]
    chunk = policy.infer({**observation, "prompt": "go"}, RequestOptions())
    recorder.record("one", observation, RequestOptions(), chunk)
    recorder.close()
    (segment,) = list_segments(tmp_path / "a")
    row = LeRobotDataset(segment).row(0)
    assert row["task"] == "go"
    np.testing.assert_array_equal(row["action"], np.asarray(chunk.actions)[0])


def test_the_command_serves_a_replay_and_records_it(tmp_path):
    dataset = LeRobotDataset(write_fake_dataset(tmp_path / "fake", episodes=1))
    line = (
        "policy:replay",
        f"--policy.root={dataset.root}",
        "--policy.robot=libero",
        "--port=0",
        "--default-prompt=go",
    )
    observation = ROBOTS["libero"].fake_native(image_hw=(16, 16))
    del observation["prompt"]
    served = server_of(parse((*line, f"--record={tmp_path / 'records'}")))
    with serve_in_background(served) as server, PolicyClient("127.0.0.1", server.port) as client:
        assert client.metadata["default_prompt"] == "go"
        chunks = [client.infer(observation) for _ in range(4)]
    recorded = dataset.columns(["actions"])["actions"].clip(-1, 1)
    np.testing.assert_array_equal(np.concatenate([chunk.actions for chunk in chunks[:3]]), recorded)
    assert "is over" in chunks[3].reason
    (segment,) = list_segments(tmp_path / "records")
    rows = LeRobotDataset(segment)
    assert rows.columns(["status"])["status"].tolist() == ["ok", "ok", "ok", "held"]
    np.testing.assert_array_equal(rows.columns(["action"])["action"][:3], recorded[[0, 10, 20]])


def test_the_command_says_what_is_wrong_without_a_traceback(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--env=ALOHA"])
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("error: There is no default policy for ALOHA")


def test_limits_of_frames_and_pings_are_options(tmp_path):
    line = ("policy:replay", f"--policy.root={write_fake_dataset(tmp_path / 'fake')}", "--policy.robot=libero")
    default = server_of(parse(line)).config
    assert (default.max_frame_bytes, default.ping_timeout_s) == (32 << 20, 600.0)
    changed = server_of(parse((*line, "--max-frame-mib=64", "--ping-timeout-s=0"))).config
    assert (changed.max_frame_bytes, changed.ping_timeout_s) == (64 << 20, None)
    for wrong in ({"max_frame_bytes": 0}, {"ping_timeout_s": -1.0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            ServerConfig(**wrong)
