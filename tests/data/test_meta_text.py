"""Text of `meta/`: UTF-8 of any writer, whatever characters its instructions hold."""

import json
from pathlib import Path

import pytest

from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.meta import _instructions, _read_jsonl


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85", "é", "杯"])
@pytest.mark.parametrize(("mark", "end"), [("", "\n"), ("\ufeff", "\r\n")], ids=["plain", "BOM and CRLF"])
def test_json_lines_are_not_cut_within_an_instruction(tmp_path: Path, character: str, mark: str, end: str) -> None:
    rows = [{"task_index": n, "task": f"pick up the{character} cup {n}"} for n in range(2)]
    lines = (json.dumps(row, ensure_ascii=False) + end for row in rows)
    (tmp_path / "tasks.jsonl").write_bytes((mark + "".join(lines) + end).encode())
    assert _read_jsonl(tmp_path / "tasks.jsonl") == rows


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "tasks.jsonl").write_bytes('{"task_index": 0, "task": "café"}'.encode("latin-1"))
    with pytest.raises(DatasetError, match=r"tasks\.jsonl is not UTF-8 text"):
        _read_jsonl(tmp_path / "tasks.jsonl")


def test_spaces_are_no_instruction() -> None:
    assert _instructions([0, 1, 2, 3], ["pick", "   ", "", None], Path("tasks")) == {0: "pick", 1: "", 2: "", 3: ""}
