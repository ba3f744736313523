"""The tail of every command: one message, a status that tells what happened, a traceback on request."""

from dataclasses import dataclass
import io
import sys

import pytest

from inspire_fast.core.cli import CommandError, require_unused, run_command
from inspire_fast.core.errors import OutOfRangeError, UnknownNameError


class StoppedError(CommandError):
    exit_status = 7


FAILURES = {
    "name": UnknownNameError("no such name"),
    "number": OutOfRangeError("no such number"),
    "value": ValueError("does not fit"),
    "file": FileNotFoundError("no such file"),
    "package": ImportError("no such package"),
    "own": StoppedError("stopped"),
    "bug": ZeroDivisionError("a bug"),
    "key": KeyError("a bug"),
    "index": IndexError("a bug"),
    "expected": RuntimeError("expected here"),
    "ctrl-c": KeyboardInterrupt(),
}


def fail(*, how: str = "", status: int = 0) -> int:
    """Fails.

    Args:
        how: kind of failure.
        status: of the process.
    """
    if how:
        raise FAILURES[how]
    return status


@pytest.mark.parametrize(
    ("how", "status", "message"),
    [
        ("name", 2, "error: no such name\n"),
        ("number", 2, "error: no such number\n"),
        ("value", 2, "error: does not fit\n"),
        ("file", 2, "error: no such file\n"),
        ("package", 2, "error: no such package\n"),
        ("own", 7, "stopped\n"),
        ("expected", 2, "error: expected here\n"),
        ("ctrl-c", 130, "\ninterrupted\n"),
    ],
)
def test_what_went_wrong_is_one_message_and_a_status(
    how: str, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        run_command(fail, ["--how", how], errors=(RuntimeError,))
    assert left.value.code == status
    assert capsys.readouterr().err == message


def test_bugs_and_those_who_ask_get_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for bug in ("bug", "key", "index"):
        with pytest.raises(type(FAILURES[bug]), match="a bug"):
            run_command(fail, ["--how", bug])
    with pytest.raises(RuntimeError):
        run_command(fail, ["--how", "expected"])
    monkeypatch.setenv("INSPIRE_FAST_TRACEBACK", "1")
    with pytest.raises(ValueError, match="does not fit"):
        run_command(fail, ["--how", "value"])


def test_results_are_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    run_command(fail, [])
    run_command({"one": fail, "two": fail}, ["one"])
    for words in (["--status", "3"], ["two", "--status", "3"]):
        with pytest.raises(SystemExit) as left:
            run_command(fail if words[0] != "two" else {"one": fail, "two": fail}, words)
        assert left.value.code == 3
    with pytest.raises(SystemExit) as left:
        run_command(fail, ["--help"])
    assert left.value.code == 0
    assert "kind of failure." in capsys.readouterr().out


def test_options_without_effect_are_refused() -> None:
    @dataclass(frozen=True)
    class Args:
        out_dir: str = "a"
        port: int = 1

    require_unused(Args(port=2), {"out_dir"}, "nothing is written")
    with pytest.raises(ValueError, match="--out-dir would have no effect: nothing is written"):
        require_unused(Args(out_dir="b"), {"out_dir"}, "nothing is written")


def test_letters_that_the_locale_lacks_end_no_command(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii", write_through=True))
    run_command(lambda: print("café"), args=[])  # noqa: T201
    assert written.getvalue() == b"caf\\xe9\n"
