import json
from pathlib import Path

import pytest

from inspire_fast.core.stages import Stage, background, command, run_stages


def test_a_failed_stage_is_repeated_and_a_finished_one_is_not(tmp_path: Path) -> None:
    ran: list[str] = []

    def fail_once() -> None:
        ran.append("second")
        if len(ran) == 2:
            raise RuntimeError("interrupted")

    stages = [
        Stage(name="first", title="first", run=lambda: ran.append("first")),
        Stage(name="second", title="second", run=fail_once),
    ]
    record = tmp_path / "stages.json"
    with pytest.raises(RuntimeError, match="interrupted"):
        run_stages(stages, record)
    assert json.loads(record.read_text(encoding="utf-8"))["done"] == ["first"]
    assert set(run_stages(stages, record)) == {"first", "second"}
    assert ran == ["first", "second", "second"]


def test_a_failing_command_ends_the_job_with_its_status(tmp_path: Path) -> None:
    script = tmp_path / "fails.py"
    script.write_text("raise SystemExit(3)", encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        command(script)
    assert caught.value.code == 3


SERVER = """
import pathlib, signal, sys, time
ended = pathlib.Path(sys.argv[2])
signal.signal(signal.SIGTERM, lambda *_: (ended.write_text("drained"), sys.exit(0)))
pathlib.Path(sys.argv[1]).write_text("4711")
time.sleep(60)
"""


def test_a_background_process_is_ready_before_and_ended_after_the_block(tmp_path: Path) -> None:
    script, ready, ended = tmp_path / "server.py", tmp_path / "new" / "port", tmp_path / "ended"
    script.write_text(SERVER, encoding="utf-8")
    with background(script, ready, ended, ready=ready, log=tmp_path / "new too" / "log") as port:
        assert port == "4711"
    assert ended.read_text(encoding="utf-8") == "drained"


def test_a_background_process_that_dies_is_reported_with_its_log(tmp_path: Path) -> None:
    script, log = tmp_path / "server.py", tmp_path / "log"
    script.write_text("print('no model'); raise SystemExit(5)", encoding="utf-8")
    with (
        pytest.raises(RuntimeError, match=r"server\.py ended with status 5; see .*log"),
        background(script, ready=tmp_path / "never", log=log),
    ):
        raise AssertionError("the block must not run")
    assert "no model" in log.read_text(encoding="utf-8")
