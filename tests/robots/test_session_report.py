"""Report of a session: written however the session ends; faults become one line."""

from pathlib import Path

import pytest

from inspire_fast.robots.arms.base import ArmError
from inspire_fast.robots.control.session import session_report


class LostPolicyError(Exception):
    """Stands for an error of the policy's client."""


def end_with(error: BaseException, path: Path | None) -> None:
    with session_report(path, interrupted="the arm holds", faults=(LostPolicyError,)) as report:
        report.append({"episode": 0})
        raise error


@pytest.mark.parametrize("kind", [ArmError, ValueError, LostPolicyError])
def test_a_fault_is_one_line_with_its_notes(kind: type[Exception], tmp_path: Path) -> None:
    error = kind("joint 3 is too fast")
    error.add_note("The arm holds.")
    with pytest.raises(SystemExit, match=r"stopped: joint 3 is too fast The arm holds\.$"):
        end_with(error, tmp_path / "report.jsonl")
    assert (tmp_path / "report.jsonl").read_text(encoding="utf-8") == '{"episode": 0}\n'


def test_ctrl_c_says_what_the_arm_does() -> None:
    with pytest.raises(SystemExit, match="stopped: Ctrl-C; the arm holds"):
        end_with(KeyboardInterrupt(), None)


def test_a_mistake_of_the_program_keeps_its_traceback_and_the_report(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        end_with(ZeroDivisionError(), tmp_path / "report.jsonl")
    assert (tmp_path / "report.jsonl").exists()
