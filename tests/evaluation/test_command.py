"""`examples/libero/main.py` as a user types it."""

import json
import os
from pathlib import Path
import subprocess
import sys

import pytest

from inspire_fast.commands.evaluate import main
from inspire_fast.serving.background import serve_in_background
from inspire_fast.serving.server import PolicyServer
from inspire_fast.serving.testing import PuppetPolicy
from tests.core.commands import ended


def command(root: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "examples/libero/main.py", *map(str, arguments)]
    return subprocess.run(
        words,
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=280,
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--suites", "libero_gaol"], "Did you mean 'libero_goal'?"),
        (["--connect-timeout-s", "0.2", "--port", "9"], "0.2 s"),
    ],
)
def test_wrong_arguments_end_with_status_2_and_what_to_do(
    tmp_path: Path, arguments: list, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = ended(main, [*arguments, "--out", tmp_path / "run"], capsys)
    assert (done.status, done.out) == (2, "")
    assert done.err.splitlines()[-1].startswith("error: ")
    assert says in done.err
    assert not (tmp_path / "run").exists()


def test_the_script_is_the_command(root: Path, tmp_path: Path) -> None:
    done = command(root, "--protocol", "openpy", "--out", tmp_path / "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("error: Unknown protocol 'openpy'. Did you mean 'openpi'?")


@pytest.mark.sim
@pytest.mark.slow
def test_two_simulators_a_disturbance_a_video_and_the_page(root: Path, tmp_path: Path) -> None:
    with serve_in_background(PolicyServer(PuppetPolicy())) as server:
        arguments = ["--protocol", "quick", "--tasks", "libero_goal:1", "libero_goal_swap:1", "--max-steps", 10]
        arguments += ["--episodes", 1, "--disturb", "lighting:2", "--port", server.port, "--out", tmp_path]
        done = command(root, *arguments)
        assert done.returncode == 0, done.stderr
        assert "quick with other max_steps" in done.stdout
        lines = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text(encoding="utf-8").splitlines()]
        assert sorted((line["suite"], line["steps"]) for line in lines) == [
            ("libero_goal", 10),
            ("libero_goal_swap", 10),
        ]
        assert len(list(tmp_path.glob("*.mp4"))) == 2
        assert "disturbed by lighting 2" in (tmp_path / "report.html").read_text(encoding="utf-8")
        again = command(root, *arguments)  # nothing is left to do
        assert again.returncode == 0
        assert "episode 0:" not in again.stdout
        blind = command(root, *arguments[:-1], tmp_path / "blind", MUJOCO_GL="disable")
        assert blind.returncode == 3
        assert "MUJOCO_GL=disable switches rendering off" in blind.stderr
        assert not (tmp_path / "blind" / "episodes.jsonl").exists()
