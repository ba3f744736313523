"""The images' files: what they copy exists, what they install and run is this package's. No builder is needed."""

from __future__ import annotations

from collections.abc import Iterator
import importlib.util
from pathlib import Path
import re
import sys
import tomllib
from typing import Any

import pytest
import yaml

from inspire_fast.commands import evaluate, serve_policy
from tests.test_documented_commands import ParsedError, parsers_stop  # noqa: F401  (a fixture)

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
INSTRUCTIONS = {
    *("ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "RUN", "SHELL", "USER", "WORKDIR")
}


def instructions(file: Path) -> Iterator[tuple[str, str]]:
    """(instruction, arguments) of a Dockerfile, with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, " ".join(rest.split())


def compose(name: str = "compose.yml") -> dict[str, Any]:
    """A compose file with the defaults of its variables."""
    text = (ROOT / "docker" / name).read_text(encoding="utf-8")
    return yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_an_image_is_made_of_the_wheel_and_of_files_that_exist(file: Path) -> None:
    found = list(instructions(file))
    assert {name for name, _ in found} <= INSTRUCTIONS
    stages = [match[1] for name, rest in found if name == "FROM" and (match := re.search(r" AS (\w+)$", rest))]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    for name, rest in found:
        if name == "FROM":
            assert ":" in rest, "an image without a version"
            assert "latest" not in rest
        if name == "COPY" and (match := re.match(r"--from=(\w+)", rest)):
            assert match[1] in stages
        elif name == "COPY" and not rest.startswith(". "):
            source = rest.split()[0]
            assert (ROOT / source).exists(), source
            assert source in kept, f"{source} is not in .dockerignore"
    assert [rest for name, rest in found if name == "USER"] == ["10001"], "not root"
    assert any("/dist/*.whl" in rest for name, rest in found if name == "RUN")


def test_the_wheel_s_sources_are_sent_to_the_builder() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] == "!"}
    build = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert needed | set(build["packages"]) | set(build["force-include"]) <= kept
    assert all((ROOT / name).exists() for name in kept)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_extras_and_commands_are_the_package_s(file: Path) -> None:
    found = list(instructions(file))
    for extras in (rest.partition("=")[2] for name, rest in found if name == "ARG"):
        assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    (entry,) = (yaml.safe_load(rest) for name, rest in found if name == "ENTRYPOINT")
    assert entry[0] in PROJECT["project"]["scripts"] or (ROOT / entry[1].removeprefix("/opt/robot/")).is_file()


def test_overrides_are_the_project_s() -> None:
    lines = (ROOT / "docker" / "overrides.txt").read_text(encoding="utf-8").split("\n")
    assert set(filter(None, lines)) <= set(PROJECT["tool"]["uv"]["override-dependencies"])


def test_services_build_from_these_files_and_wait_for_the_server() -> None:
    services = compose()["services"]
    assert services.keys() == {"server", "libero", "robot"}
    for service in services.values():
        assert (ROOT / "docker" / service["build"]["context"]).resolve() == ROOT
        assert ROOT / service["build"]["dockerfile"] in FILES
    for name in ("libero", "robot"):
        assert services[name]["depends_on"] == {"server": {"condition": "service_healthy"}}
    assert services["server"]["ports"][0].startswith("127.0.0.1:")
    assert compose("compose.gpu.yml")["services"].keys() <= services.keys()


@pytest.mark.usefixtures("parsers_stop")
def test_commands_of_services_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    services = compose()["services"]
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "franka"))
    spec = importlib.util.spec_from_file_location("franka_options", ROOT / "examples" / "franka" / "options.py")
    assert spec
    assert spec.loader
    options = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(options)
    for service, main in (("server", serve_policy.main), ("libero", evaluate.main), ("robot", None)):
        arguments = services[service]["command"]
        monkeypatch.setattr(sys, "argv", [service, *arguments])
        with pytest.raises(ParsedError):
            main() if main else options.parse("", arguments)
