"""The wheel in an empty environment: commands, configs, the shipped policy, two steps of training; prints sizes.

    python tests/external/check_wheel.py                                   # base install
    python tests/external/check_wheel.py --extras train,sim --python 3.12

Needs uv and a package index, and only the standard library. `make test-wheel` runs it for the base install.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
import os
from pathlib import Path
import re
import subprocess
import sys
import tempfile
import tomllib

ROOT = Path(__file__).parents[2]
BASE = {"inspire-check-robot", "inspire-stop-arms"}  # commands of robot workstations
LACKING = re.compile(r"error: this command needs the package '\w+', which is not installed\. Add the extra '(\w+)': .*")
DATASET = """
from pathlib import Path
from inspire_fast.data.testing import write_fake_dataset
write_fake_dataset(Path("runs/demo/dataset"))
"""
TRAINING = (
    ("inspire-norm-stats", "debug"),
    ("inspire-fit-tokenizers", "debug"),
    ("inspire-train", "debug", "--overwrite"),
)
LIGHT = "import inspire_fast, sys; inspire_fast.PolicyClient; assert 'jax' not in sys.modules"
REQUEST = """
import sys
from inspire_fast import PolicyClient
from inspire_fast.robots import ROBOTS
with PolicyClient(sys.argv[1]) as policy:
    chunk = policy.infer({**ROBOTS["libero"].fake_native(), "prompt": "pick up the milk and place it in the basket"})
print(chunk.status, chunk.actions.shape, [(a.question, a.target, a.answer) for a in chunk.answers])
"""


class Check:
    """An environment with the wheel in it, and an empty folder in which its commands run."""

    def __init__(self, folder: Path, python: str, extras: str) -> None:
        self.folder, self.extras = folder, extras
        self.bin = folder / "environment" / "bin"
        (folder / "empty").mkdir()
        _run(["uv", "build", "--quiet", "--out-dir", str(folder / "dist"), str(ROOT)])
        wheel, source = next(folder.glob("dist/*.whl")), next(folder.glob("dist/*.tar.gz"))
        print(f"{wheel.name}: {_megabytes(wheel.stat().st_size)}; {source.name}: {_megabytes(source.stat().st_size)}")
        _run(["uv", "tool", "run", "--quiet", "twine", "check", "--strict", str(wheel), str(source)])
        _run(["uv", "venv", "--quiet", "--python", python, str(self.bin.parent)])
        wanted = f"{wheel}[{extras}]" if extras else str(wheel)
        _run(["uv", "pip", "install", "--quiet", "--python", str(self.bin / "python"), wanted])
        size = sum(p.stat().st_size for p in self.bin.parent.rglob("*") if p.is_file() and not p.is_symlink())
        version = self.python("import platform; print(platform.python_version())").strip()
        print(f"environment [{extras or 'base'}], Python {version}: {_megabytes(size)}")

    def python(self, code: str, *args: str) -> str:
        """Output of the environment's Python."""
        return self.command("python", "-c", code, *args)

    def command(self, name: str, *args: str) -> str:
        """Output of a command of the environment, run in the empty folder."""
        return _run([str(self.bin / name), *args], cwd=self.folder / "empty")

    def helps(self) -> None:
        """Every console command answers `--help`, or says in one line which extra it lacks."""
        declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"])
        installed = {path.name for path in self.bin.glob("inspire-*")}
        assert installed == declared, (installed, declared)
        for name in sorted(declared):
            done = subprocess.run(
                [self.bin / name, "--help"],
                cwd=self.folder / "empty",
                env=_environment(),
                check=False,
                capture_output=True,
                encoding="utf-8",
            )
            if done.returncode == 0:
                assert "usage" in done.stdout.lower(), (name, done.stdout)
            else:
                lines = done.stderr.strip().splitlines()
                assert len(lines) == 1, (name, done.stderr)
                found = LACKING.fullmatch(lines[0])
                assert found, (name, lines)
                assert found[1] not in self.extras.split(","), (name, lines)
                assert name not in BASE, (name, lines)
                assert "train" not in self.extras or found[1] == "sim", (name, lines)
            print(f"  {name} --help: {'yes' if done.returncode == 0 else lines[0][:100]}")

    def trains(self) -> None:
        """The config `debug`, found by name, trains two steps on a dataset that is made here."""
        self.python(DATASET)
        for name, *args in TRAINING:
            print(f"  {name} {' '.join(args)}: {self.command(name, *args).strip().splitlines()[-1]}")

    def serves(self) -> None:
        """The shipped policy answers a request of the light client."""
        server = subprocess.Popen(
            [self.bin / "inspire-serve", "--port", "0"],
            cwd=self.folder / "empty",
            env=_environment(),
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        try:
            assert server.stdout is not None
            address = next(found[1] for line in server.stdout if (found := re.search(r"Serving on (ws://\S+)", line)))
            print(f"  inspire-serve: {self.python(REQUEST, address).strip()}")
        finally:
            server.terminate()
            server.wait(60)


def _run(command: Sequence[str], cwd: Path | None = None) -> str:
    done = subprocess.run(command, check=False, cwd=cwd, env=_environment(), stdout=subprocess.PIPE, encoding="utf-8")
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with status {done.returncode}\n{done.stdout}")
    return done.stdout


def _environment() -> dict[str, str]:
    """Without the checkout on Python's path."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def main() -> None:
    """Runs the check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", default="", help="such as train or train,sim")
    parser.add_argument("--python", default="3.11", help="version or path of an interpreter")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        check = Check(Path(folder), args.python, args.extras)
        check.python(LIGHT)
        check.helps()
        if "train" in args.extras.split(","):
            check.trains()
            check.serves()
    print("The wheel works.")


if __name__ == "__main__":
    main()
