"""Commands in the documents: every command line still parses, and every block says what runs it or what it needs."""

from __future__ import annotations

import argparse
import functools
import importlib
import os
from pathlib import Path
import re
import runpy
import subprocess
import sys
import tomllib
from typing import Any

import numpy as np
import pytest
import tyro

from inspire_fast.commands import label_dataset, with_config
from inspire_fast.data.lerobot.writer import DatasetWriter
from inspire_fast.robots import ROBOTS
from tests.labeling.simulated import load

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "examples/*/*.md", "third_party/openpi/*.md", "inspire_fast/shipped/*/*.md")
    for path in ROOT.glob(pattern)
    if path.name not in ("CHANGELOG.md", "log.md")  # of their time: commands of then
)
BLOCK = re.compile(r"^([^\n]*)\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (run|needs): (.+) -->")
OURS = re.compile(r"(?:uv run (?:python )?)((?:scripts|examples|benchmarks)/[\w/]+\.py)|(inspire-[\w-]+)|make (\w+)")


class ParsedError(Exception):
    """The command line was parsed; nothing is run."""


def blocks() -> list[tuple[str, str, str]]:
    """Place, mark and text of each block of commands."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text[: match.start(2)].count("\n")
            found.append((f"{document.relative_to(ROOT)}:{line}", match[1], match[2]))
    return found


def command_lines() -> list[str]:
    """Command lines of blocks and of running text that call this project, each once."""
    lines: dict[str, None] = {}
    for _, _, text in blocks():
        given = "".join(f"{line}\n" for line in text.splitlines() if re.match(r"\w+=", line))
        for line in text.replace("\\\n", " ").splitlines():
            if OURS.search(line):
                lines[f"{given if '$' in line else ''}{line.strip()}"] = None
    for document in DOCUMENTS:
        text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for code in re.findall(r"`([^`]+)`", text):
            line = " ".join(code.split())
            if (match := OURS.match(line)) and (" " in line[match.end() - 1 :] or match[3]):
                lines[line] = None
    return list(lines)


def words(line: str) -> list[str]:
    """Words of a command line as a shell gives them to the program, from its name on."""
    *assigned, line = line.splitlines()
    line = re.sub(r"<[^>]*>|CONFIG", "demo", line).replace(" ...", "")
    start = OURS.search(line)
    assert start
    begin = next(start.start(n) for n in (1, 2, 3) if start[n])
    rest = re.split(r" (?:&|>|2>|\|)(?: |$)", re.sub(r"\"$", "", line[begin:]))[0]
    script = "\n".join([*assigned, f"printf '%s\\0' {rest.rstrip(' &')}"])
    done = subprocess.run(["bash", "-c", script], capture_output=True, encoding="utf-8", check=True)
    return done.stdout.split("\0")[:-1]


@pytest.mark.parametrize(("place", "mark", "text"), blocks(), ids=[block[0] for block in blocks()])
def test_a_block_says_what_runs_it_or_what_it_needs(place: str, mark: str, text: str) -> None:
    found = MARK.fullmatch(mark)
    assert found, f"{place}: put `<!-- run: <a test> -->` or `<!-- needs: ... -->` above the block:\n{text}"
    if found[1] == "run":
        file, _, name = found[2].partition("::")
        assert (ROOT / file).is_file(), f"{place}: there is no {file}"
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{place}: no {name} in {file}"


def parsed_only(function: Any) -> Any:
    """The function with the same parameters; its call raises `ParsedError`."""
    if isinstance(function, functools.partial):
        return functools.partial(parsed_only(function.func), *function.args, **function.keywords)

    @functools.wraps(function)
    def stopped(*_: Any, **__: Any) -> Any:
        raise ParsedError

    return stopped


@pytest.fixture
def parsers_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsers of command lines raise `ParsedError` once they have parsed."""
    parse, subcommands, parse_args = tyro.cli, tyro.extras.subcommand_cli_from_dict, argparse.ArgumentParser.parse_args

    def cli(function: Any, **options: Any) -> Any:
        parse(function if isinstance(function, type) else parsed_only(function), **options)
        raise ParsedError

    def from_dict(functions: dict[str, Any], **options: Any) -> Any:
        subcommands({name: parsed_only(function) for name, function in functions.items()}, **options)

    def arguments(parser: argparse.ArgumentParser, *args: Any) -> Any:
        parse_args(parser, *args)
        raise ParsedError

    monkeypatch.setattr(tyro, "cli", cli)
    monkeypatch.setattr(tyro.extras, "subcommand_cli_from_dict", from_dict)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", arguments)


@pytest.mark.parametrize("line", command_lines())
@pytest.mark.usefixtures("parsers_stop")
def test_command_lines_parse(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    match = OURS.search(line)
    assert match
    if match[3]:
        assert re.search(rf"^{match[3]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        return
    program, *args = words(line)
    module = module_of(match)
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [program, *args])
    monkeypatch.syspath_prepend(str((ROOT / program).parent))  # as Python does for the file that it runs
    monkeypatch.setattr(with_config, "config_names", lambda: ["debug", "demo"])  # a completion has all fields of each
    main = (
        importlib.import_module(module).main
        if module
        else lambda: runpy.run_path(str(ROOT / match[1]), None, "__main__")
    )
    with pytest.raises(SystemExit if {"--help", "--tyro-print-completion"} & {*args} else ParsedError):
        main()


def module_of(match: re.Match[str]) -> str | None:
    """Module of a command, or None for a file that is run."""
    if match[1] and match[1].startswith("scripts/"):
        assert (ROOT / match[1]).is_file()
        return f"inspire_fast.commands.{Path(match[1]).stem}"
    if match[1] in ("examples/libero/main.py", "examples/simpler_env/main.py"):
        return "inspire_fast.commands.evaluate"
    if match[2]:
        scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
        return f"inspire_fast.commands.{scripts[match[2]].partition(':')[2]}"
    return None


def test_pages_named_readme_are_entries_of_the_navigation() -> None:
    """With `navigation.indexes` mkdocs-material shows the first README of a section as the section's heading only."""
    assert "navigation.indexes" not in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def run_block(document: str, folder: Path, **given: str) -> list[str]:
    """Runs the first block of a document in a folder with the repository's commands; returns its lines that ran.

    `uv run` runs this Python. Lines with a `<placeholder>` that is not given are left out.
    """
    for name in ("scripts", "examples", "configs"):
        (folder / name).symlink_to(ROOT / name)
    shim = folder / "bin" / "uv"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nshift\nexec {sys.executable} "$@"\n', encoding="utf-8")
    shim.chmod(0o755)
    text = next(text for place, _, text in blocks() if place.startswith(f"{document}:"))
    for name, value in given.items():
        text = text.replace(f"<{name}>", value)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if "<" not in line]
    environment = {**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    script = "\n".join(["set -e", *lines])
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return lines


def write_recorded(root: Path) -> None:
    """Writes recorded episodes of LIBERO as somebody else's dataset: pictures of one colour, no labels."""
    robot = ROBOTS["libero"]
    features = {
        "image": {"dtype": "image", "shape": (16, 16, 3)},
        "wrist_image": {"dtype": "image", "shape": (16, 16, 3)},
        "state": {"dtype": "float32", "shape": (robot.state_dim,)},
        "actions": {"dtype": "float32", "shape": (robot.action_dim,)},
    }
    with DatasetWriter(root, fps=20, robot_type="panda", features=features, version="v3.0") as writer:
        for episode in load():
            pictures = np.full((len(episode.state), 16, 16, 3), 90, np.uint8)
            moved = np.diff(episode.state[:, :6], axis=0, append=episode.state[-1:, :6]) * 20
            actions = np.column_stack([moved, np.sign(episode.state[:, 6] - 0.02)]).astype(np.float32)
            columns = {"image": pictures, "wrist_image": pictures, "state": episode.state, "actions": actions}
            writer.add_episode(columns, task=str(episode.prompt))


@pytest.mark.slow  # half a minute: five commands
def test_the_block_of_a_new_dataset_runs(tmp_path: Path) -> None:
    write_recorded(tmp_path / "data" / "mine")
    assert len(run_block("docs/data.md", tmp_path)) == 6
    assert (tmp_path / "data" / "mine" / "labels" / "facts.parquet").exists()


@pytest.mark.slow
def test_the_block_before_training_runs(tmp_path: Path) -> None:
    write_recorded(tmp_path / "data" / "mine")
    label_dataset.main(["hindsight", "--root", str(tmp_path / "data" / "mine")])
    assert (
        len(run_block("docs/training.md", tmp_path, config="demo", dataset="data/mine --data.unlabelled ask_nothing"))
        == 3
    )


@pytest.mark.slow  # a new process: four seconds
def test_the_block_of_the_completion_runs(tmp_path: Path) -> None:
    mark = "test_the_block_of_the_completion_runs"
    (text,) = (text for place, found, text in blocks() if place.startswith("docs/install.md") and mark in found)
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-ec", text], cwd=tmp_path, env=environment, check=True)
    written = (tmp_path / ".local/share/bash-completion/completions/inspire-train").read_text(encoding="utf-8")
    assert "debug" in written
    assert "--batch-size" in written
