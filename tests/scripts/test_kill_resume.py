"""The verdict of `benchmarks/kill_resume.py`: what counts as an exact resume, and what proves nothing."""

from benchmarks.kill_resume import is_exact

STRAIGHT = [{"step": 3, "time": 10.0, "loss": 1.0}, {"step": 6, "time": 20.0, "loss": 0.5}]


def test_only_a_process_that_wrote_a_line_proves_something() -> None:
    again = [{**row, "time": row["time"] + 100} for row in STRAIGHT]  # another time is no difference
    assert is_exact(again, STRAIGHT, since=115) is True
    assert is_exact(again[:1], STRAIGHT, since=110) is True
    assert is_exact([again[0], {**again[1], "loss": 0.4}], STRAIGHT, since=115) is False
    assert is_exact([again[0], {**again[1], "step": 9}], STRAIGHT, since=115) is False
    assert is_exact(again[:1], STRAIGHT, since=115) is None  # killed before its first line
    assert is_exact([], STRAIGHT, since=0) is None
