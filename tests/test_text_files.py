"""Text is UTF-8 wherever it crosses a file or a pipe, whatever the machine's locale: every call that opens one says so.

ruff's PLW1514 sees only paths whose type it can tell, and no pipes; this test sees every call.
"""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
import re

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "configs", "examples", "inspire_fast", "scripts", "tests")
AS_IT_WAS_RUN = ROOT / "tests/golden/recipe.py"  # travels with the golden vectors


def _is_text(call: ast.Call) -> bool:
    """Whether a call surely reads or writes text through an encoding that it could name."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    if name in ("read_text", "write_text"):
        return isinstance(call.func, ast.Attribute)  # `core.files` has functions of these names, which are UTF-8
    if name in ("run", "Popen", "check_output"):
        return "text" in named or "universal_newlines" in named
    if isinstance(call.func, ast.Name) and name == "open":
        return _text_mode([*call.args[1:2], named.get("mode", ast.Constant("r"))])
    if name in ("open", "fdopen", "NamedTemporaryFile", "TemporaryFile"):  # `path.open()` is found by ruff alone
        return _text_mode([*call.args[int(name == "fdopen") :][:1], named.get("mode")])
    return name == "TextIOWrapper"


def _text_mode(values: Sequence[ast.expr | None]) -> bool:
    mode = values[0].value if isinstance(values[0], ast.Constant) else None
    return isinstance(mode, str) and re.fullmatch(r"[rwaxt+]{1,3}", mode) is not None


def without_encoding(source: str) -> Iterator[int]:
    """Lines of the calls that leave the encoding to the machine."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _is_text(node):
            told = any(keyword.arg == "encoding" for keyword in node.keywords)
            if not told and not any(isinstance(a, ast.Constant) and a.value == "utf-8" for a in node.args):
                yield node.lineno


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("(folder / 'a').read_text()", 1),
        ("self.path.write_text(text)", 1),
        ("path.open('a')", 1),
        ("open(path)", 1),
        ("open(path, mode='r')", 1),
        ("subprocess.run(words, text=True)", 1),
        ("os.fdopen(descriptor, 'w')", 1),
        ("Popen(words, universal_newlines=True)", 1),
        ("NamedTemporaryFile('w')", 1),
        ("path.read_text(encoding='utf-8')", 0),
        ("path.read_text('utf-8')", 0),
        ("path.open('ab+')", 0),
        ("open(path, 'rb')", 0),
        ("subprocess.run(words, encoding='utf-8')", 0),
        ("write_text(path, text)", 0),
        ("Image.open(stream)", 0),
        ("tracker.open(folder, resume_at)", 0),
        ("av.open(path, 'w')", 0),
        ("gate.open()", 0),
        ("os.open(path, flags)", 0),
    ],
)
def test_calls_without_an_encoding_are_found(source, found):
    assert len(list(without_encoding(source))) == found


def test_every_text_file_and_pipe_has_an_encoding():
    files = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path != AS_IT_WAS_RUN)
    left = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in files
        for line in without_encoding(path.read_text(encoding="utf-8"))
    ]
    assert not left, f"Add encoding='utf-8' (it replaces text=True of a subprocess): {left}"
