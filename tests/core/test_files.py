"""Files and folders that are whole or not there, whatever happens to their writer."""

import os
from pathlib import Path
import re
import signal
import subprocess
import sys

import pytest

from inspire_fast.core.files import (
    StagedFolder,
    append_json_line,
    expanded,
    numbered_lines,
    open_atomic,
    openpi_home,
    read_json_lines,
    read_text,
    require_folder_name,
    require_unused,
    write_bytes,
    write_json,
    write_text,
)

WRITER = """
import sys, time
from pathlib import Path
from inspire_fast.core.files import StagedFolder, open_atomic

kind, path = sys.argv[1], Path(sys.argv[2])
if kind == "file":
    with open_atomic(path) as stream:
        stream.write(b"half")
        stream.flush()
        print("writing", flush=True)
        time.sleep(60)
with StagedFolder(path, replaces=["*"]) as folder:
    (folder / "half").touch()
    print("writing", flush=True)
    time.sleep(60)
"""


def start(kind: str, path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, kind, str(path)], stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_killed_process_leaves_the_old_file_or_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    kill(start("file", path))
    assert names(tmp_path) == [".file.partial"]
    write_text(path, "old")
    assert names(tmp_path) == ["file"]  # the left-over was taken over
    kill(start("file", path))
    assert path.read_text(encoding="utf-8") == "old"
    write_text(path, "new")
    assert path.read_text(encoding="utf-8") == "new"
    assert names(tmp_path) == ["file"]


def test_a_killed_process_leaves_the_old_folder_or_none(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    kill(start("folder", path))
    assert names(tmp_path) == [".folder.partial"]
    with StagedFolder(path) as folder:
        (folder / "old").touch()
    assert names(tmp_path) == ["folder"]
    kill(start("folder", path))
    assert names(path) == ["old"]
    with StagedFolder(path, replaces=["*"]) as folder:
        (folder / "new").touch()
    assert names(path) == ["new"]
    assert names(tmp_path) == ["folder"]


def test_two_processes_write_one_file_and_the_last_wins(tmp_path: Path) -> None:
    path, process = tmp_path / "file", start("file", tmp_path / "file")
    write_text(path, "mine")
    assert path.read_text(encoding="utf-8") == "mine"
    assert names(tmp_path) == [".file.partial", "file"]  # the other one still writes
    kill(process)
    write_text(path, "mine again")
    assert names(tmp_path) == ["file"]


def test_two_processes_may_not_write_one_folder(tmp_path: Path) -> None:
    process = start("folder", tmp_path / "folder")
    with pytest.raises(FileExistsError, match="Another process is writing"):
        StagedFolder(tmp_path / "folder")
    kill(process)
    StagedFolder(tmp_path / "folder").discard()
    assert names(tmp_path) == []


def test_a_block_that_fails_changes_nothing(tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    write_bytes(file, b"old")

    def write_file() -> None:
        with open_atomic(file) as stream:
            stream.write(b"new")
            raise OSError("No space left on device")

    def write_folder() -> None:
        with StagedFolder(folder) as partial:
            (partial / "sub").mkdir()
            raise OSError("No space left on device")

    for write in (write_file, write_folder):
        with pytest.raises(OSError, match="No space"):
            write()
    assert file.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_text_is_utf8_and_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b", "größer\n")
    assert (tmp_path / "a" / "b").read_bytes() == "größer\n".encode()
    write_json(tmp_path / "a" / "c", {"key": [1]}, indent=None)
    assert (tmp_path / "a" / "c").read_text(encoding="utf-8") == '{"key": [1]}\n'
    (tmp_path / "plain").touch()
    assert (tmp_path / "a" / "b").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_text_of_others_is_utf8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "größer\r\n".encode())
    assert read_text(path) == "größer\n"
    path.write_bytes("größer".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.txt is not UTF-8 text \(byte 0xf6 at 2\)"):
        read_text(path)


def test_a_line_feed_alone_ends_a_line() -> None:
    text = '"a\u2028b"\n\n"c\u2029\u0085\x1cd"\n'
    assert numbered_lines(text) == [(1, '"a\u2028b"'), (3, '"c\u2029\u0085\x1cd"')]


def test_no_home_directory_is_an_error_that_names_the_variable(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user without HOME and without a record
    monkeypatch.delenv("OPENPI_DATA_HOME", raising=False)
    with pytest.raises(FileNotFoundError, match="set OPENPI_DATA_HOME"):
        openpi_home()
    with pytest.raises(FileNotFoundError, match="no such home directory; write the whole path"):
        expanded("~/checkpoints")
    monkeypatch.setenv("OPENPI_DATA_HOME", str(tmp_path))
    assert openpi_home() == tmp_path


def test_no_other_module_looks_for_the_home_directory(root: Path) -> None:
    modules = [path for path in (root / "inspire_fast").rglob("*.py") if path.name != "files.py"]
    looks = re.compile(r"\.expanduser\(|Path\.home\(")
    assert [str(path) for path in modules if looks.search(path.read_text(encoding="utf-8"))] == []


def test_folders_that_are_used_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    require_unused(tmp_path / "empty")
    require_unused(tmp_path / "missing")
    require_unused(tmp_path, replaces=["no such file", "em*"])
    with pytest.raises(FileExistsError, match=r"holds none of meta/info\.json: .* It holds \['empty'\]"):
        require_unused(tmp_path, replaces=["meta/info.json"])
    with pytest.raises(FileExistsError, match="is not empty; delete it"):
        require_unused(tmp_path, hint="delete it")
    with StagedFolder(tmp_path / "empty") as folder:
        (folder / "file").touch()
    assert names(tmp_path / "empty") == ["file"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\\b", "c:", " a", "a ", "\n", ".hidden"])
def test_a_name_is_one_plain_folder(name: str) -> None:
    require_folder_name("exp_name", "first run-2_ü")
    with pytest.raises(ValueError, match="exp_name must be the name of one folder"):
        require_folder_name("exp_name", name)


def test_lines_survive_a_killed_writer(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lines.jsonl"
    assert read_json_lines(path) == []
    append_json_line(path, {"a": 1})
    with path.open("a", encoding="utf-8") as file:
        file.write('{"a": 2')  # killed in the middle of a line
    assert read_json_lines(path) == [{"a": 1}]
    append_json_line(path, {"a": "x" * 100_000})  # longer than a block of the search for the last newline
    append_json_line(path, {"a": 3})
    assert [line["a"] for line in read_json_lines(path)] == [1, "x" * 100_000, 3]
    path.write_text('{"a": 1}\n{"a"\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"lines\.jsonl, line 2: not a JSON object"):
        read_json_lines(path)


def test_no_other_module_writes_a_final_name_by_hand(root: Path) -> None:
    by_hand = re.compile(r"\.write_text\(|\.write_bytes\(|os\.replace|(?<!/)\.partial\b[^(]*[\"']")
    sources = [path for folder in ("inspire_fast", "scripts") for path in (root / folder).rglob("*.py")]
    found = [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in sources
        if path != root / "inspire_fast" / "core" / "files.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if by_hand.search(line)
    ]
    assert not found
