"""The facade `import inspire_fast as ifa`: light, complete, typed, and every name with an example that runs."""

from __future__ import annotations

from collections.abc import Iterator
import doctest
import importlib
import inspect
import json
from pathlib import Path
import re
import subprocess
import sys
import tomllib
from types import SimpleNamespace
from typing import Any

import pytest

import inspire_fast as ifa
from inspire_fast import testing
from inspire_fast.commands import evaluate as evaluate_command
from inspire_fast.core.lazy import exported
from inspire_fast.serving import PolicyServer, serve_in_background
from inspire_fast.training import loop


def test_it_imports_nothing_else_and_fast(root: Path) -> None:
    program = """
import json, sys, time
old, start = set(sys.modules), time.perf_counter()
import inspire_fast
seconds = time.perf_counter() - start
print(json.dumps([seconds, sorted({name.partition(".")[0] for name in set(sys.modules) - old})]))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, encoding="utf-8", check=True)
    seconds, loaded = json.loads(done.stdout)
    assert set(loaded) - set(sys.stdlib_module_names) == {"inspire_fast"}
    assert seconds < 0.5  # some 10 ms on an idle machine


ROOMS = [name for name, module in exported("inspire_fast").items() if module == "inspire_fast"]
NAMES = {name: module for name, module in exported("inspire_fast").items() if module != "inspire_fast"}


def test_every_room_is_there(root: Path) -> None:
    assert set(ROOMS) == {path.parent.name for path in (root / "inspire_fast").glob("*/__init__.py")}
    assert len(NAMES) == 12
    assert {*NAMES, *ROOMS} <= set(dir(ifa))


@pytest.mark.parametrize("name", ROOMS)
def test_every_room_has_a_face(name: str) -> None:
    room = importlib.import_module(f"inspire_fast.{name}")
    assert getattr(ifa, name) is room
    own = exported(room.__name__) or {key: "" for key, value in vars(room).items() if not inspect.ismodule(value)}
    faces = [key for key in own if not key.startswith("_")]
    assert 1 <= len(faces) <= 8
    for key in faces:
        assert not inspect.ismodule(getattr(room, key)), f"{name}.{key} is a module, too."


def test_an_unknown_name_is_answered_with_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"inspire_fast 'load_polcy'. Did you mean 'load_policy'\?.*PolicyClient"):
        ifa.load_polcy  # noqa: B018
    assert not hasattr(ifa, "__wrapped__")


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The names that the examples take for granted."""
    folder = tmp_path_factory.mktemp("examples")
    step = testing.write_checkpoint(testing.tiny_policy(), folder / "checkpoint" / "0")
    with serve_in_background(PolicyServer(testing.PuppetPolicy())) as server:
        yield {
            "checkpoint": step,
            "policy": testing.PuppetPolicy(),
            "port": server.port,
            "root": testing.write_fake_dataset(folder / "dataset", episodes=2),
        }


@pytest.mark.parametrize("name", sorted(NAMES))
def test_its_example_runs(name: str, namespace: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    # What takes minutes or never ends has tests of its own; here the example is checked up to there.
    monkeypatch.setattr(PolicyServer, "serve_forever", lambda self: None)
    monkeypatch.setattr(loop, "_train", lambda config, _: SimpleNamespace(step=config.steps))
    monkeypatch.setattr(
        evaluate_command, "run_missing_episodes", lambda job, keys, run, **_: [SimpleNamespace(success=True)]
    )
    monkeypatch.setattr(evaluate_command, "_print_results", lambda *_: None)
    value = getattr(ifa, name)
    documented = value if inspect.isclass(value) or inspect.isfunction(value) else sys.modules[NAMES[name]]
    (example,) = doctest.DocTestFinder(recurse=False).find(documented, name, globs=dict(namespace))
    assert example.examples, f"{name} has no example in its docstring."
    said: list[str] = []
    failed = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE).run(example, out=said.append).failed
    assert not failed, "".join(said)


def test_the_readmes_examples_run(
    root: Path, namespace: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 2
    (tmp_path / "runs/demo/checkpoints/demo").mkdir(parents=True)
    (tmp_path / "runs/demo/checkpoints/demo/default").symlink_to(namespace["checkpoint"].parent)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block.replace("8000", str(namespace["port"])), names)
    assert names["chunk"].actions.shape == (10, 7)


def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_command_is_a_script_too(root: Path) -> None:
    commands = {name: target.partition(":") for name, target in project(root)["project"]["scripts"].items()}
    assert all(name.startswith("inspire-") for name in commands)
    assert {module for module, _, _ in commands.values()} == {"inspire_fast.commands.entry_points"}
    modules = {name for _, _, name in commands.values()}
    assert {p.stem for p in (root / "scripts").glob("*.py")} <= modules
    for module in modules:
        assert callable(importlib.import_module(f"inspire_fast.commands.{module}").main)


OF_THE_BASE_INSTALL = {"check_robot", "stop_arms"}  # for a robot workstation


def test_every_command_of_the_base_install_names_the_missing_extra(root: Path) -> None:
    modules = {target.partition(":")[2] for target in project(root)["project"]["scripts"].values()}
    names = sorted(modules - OF_THE_BASE_INSTALL)
    program = """
import json, sys
from inspire_fast.commands import entry_points
base = {*sys.stdlib_module_names, "inspire_fast", "msgpack", "numpy", "PIL", "websockets"}
class BaseInstall:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in base:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, BaseInstall())
said = {}
for name in sys.argv[1:]:
    try:
        getattr(entry_points, name)([])
    except SystemExit as ended:
        said[name] = ended.code
print(json.dumps(said))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *names], cwd=root, capture_output=True, encoding="utf-8", check=True
    )
    said = json.loads(done.stdout)
    assert {*said} == {*names}
    for name, message in said.items():
        assert re.search(r"needs the package '\w+', which is not installed.*'inspire-fast\[(train|sim)\]'", message), (
            name
        )
    assert not done.stderr


def test_every_command_answers_help(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for target in project(root)["project"]["scripts"].values():
        module, _, function = target.partition(":")
        try:
            getattr(importlib.import_module(module), function)(["--help"])
        except SystemExit as ended:
            assert ended.code in (0, None), target  # noqa: PT017 (commands of a config return; those of tyro exit)
        assert "usage" in capsys.readouterr().out.lower(), target


def test_the_wheel_carries_configs_and_types(root: Path) -> None:
    wheel = project(root)["tool"]["hatch"]["build"]["targets"]["wheel"]
    for source, target in wheel["force-include"].items():
        assert (root / source).is_dir()
        assert not (root / target).exists()  # in a checkout there is one copy
    assert (root / "inspire_fast" / "py.typed").is_file()
