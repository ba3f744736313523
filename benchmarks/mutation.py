"""Mutation testing: small faults are planted in the modules of a room, and its tests should notice each of them.

`uv run python benchmarks/mutation.py ROOM ... [--sample 200] [--only PATTERN] [--again]`

cosmic-ray, in an environment of its own, lists the faults: another operator, a number one off, a condition negated, a
decorator or a loop's body left out. Of all faults of one kind at one place, one is taken, then a seeded sample of the
room. Annotations and sizes of caches are left out, where no test could notice. The tests of a fault are those of its
room, the files that import its module first, up to the first that fails. They run in a fork of a process that has
imported the large packages; the fault is in memory only. (A process that a test starts does not have it.)

Results are kept per fault below `--out`, so an interrupted run goes on, and so does a run after a module has changed.
`--again` repeats the faults that survived or took too long (which count as killed). The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
import hashlib
import importlib
from importlib.machinery import SourceFileLoader
import json
import os
from pathlib import Path
import re
import resource
import signal
import subprocess
import sys
import time
import traceback
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "inspire_fast"
COSMIC_RAY = "cosmic-ray==8.7.0"
LARGE = ("numpy", "pytest", "jax", "flax.nnx")  # plugins of pytest must not be imported before it runs
UNNOTICEABLE = re.compile(r"_(Eq_Is|NotEq_IsNot|Is_Eq|IsNot_NotEq)$")  # the same for None, enums and small numbers
ROOMS: dict[str, tuple[str, str]] = {
    "statistics": ("evaluation/report/statistics.py", "tests/evaluation/test_statistics.py"),
    "normalization": ("data/normalization/*.py", "tests/data/test_*[nr][om]*ali*.py tests/data/test_statistics.py"),
    "hindsight": (
        "labeling/hindsight/*.py",
        "tests/labeling/test_hindsight*.py tests/labeling/test_manip*.py tests/labeling/test_[lv]a[bl]*.py",
    ),
    "dialogue": ("dialogue/**/*.py", "tests/dialogue/test_*.py"),
    "robots": ("robots/**/*.py", "tests/robots/test_*.py"),
    "policy": ("policy/**/*.py", "tests/policy/test_*.py"),
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One planted fault: `occurrence` of the operator in the module, whose text then is `text`."""

    module: str
    line: int
    operator: str
    occurrence: int
    text: str

    @property
    def key(self) -> str:
        """Names the fault in this version of the module."""
        return hashlib.sha256(f"{self.module} {self.text}".encode()).hexdigest()[:16]


def list_faults(room: str, sample: int, seed: int) -> None:
    """Prints the room's faults as JSON lines. Runs where cosmic-ray is installed."""
    plugins, mutating, trees = (importlib.import_module(f"cosmic_ray.{n}") for n in ("plugins", "mutating", "ast"))
    names = [n for n in sorted(plugins.operator_names()) if "Variable" not in n and not UNNOTICEABLE.search(n)]
    operators = {name: plugins.get_operator(name)() for name in names}
    chosen: list[tuple[str, Path, str, int, int]] = []
    for file in sorted(PACKAGE.glob(ROOMS[room][0])):
        if file.name not in ("__init__.py", "testing.py"):
            chosen += _places(file, operators, trees.get_ast(_read(file)), seed)
    sys.stderr.write(f"{room}: {len(chosen)} faults at places of their own\n")
    for _, file, name, occurrence, line in sorted(chosen)[:sample]:
        text = mutating.mutate_code(_read(file), operators[name], occurrence)
        module = str(file.relative_to(ROOT))
        fault = Fault(module=module, line=line, operator=name.split("/")[1], occurrence=occurrence, text=text)
        print(json.dumps(asdict(fault)))


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _places(file: Path, operators: dict[str, Any], tree: Any, seed: int) -> list[tuple[str, Path, str, int, int]]:
    """One fault per place and kind, each with its rank, in which other modules play no part."""
    source = _read(file)
    hidden = set(_hidden(ast.parse(source)))
    best: dict[tuple[Any, str], tuple[str, Path, str, int, int]] = {}
    for name, operator in operators.items():
        for occurrence, (start, _) in enumerate(_positions(operator, tree)):
            line = source.splitlines()[start[0] - 1]
            if start in hidden or start[0] in hidden:
                continue
            rank = hashlib.sha256(f"{seed} {file.name} {name} {line} {start[1]}".encode()).hexdigest()
            key = (start, name.split("_")[0])
            best[key] = min(best.get(key, ("~",)), (rank, file, name, occurrence, start[0]))  # pyright: ignore
    return list(best.values())


def _positions(operator: Any, node: Any) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    yield from operator.mutation_positions(node)
    for child in getattr(node, "children", ()):
        yield from _positions(operator, child)


def _hidden(tree: ast.Module) -> Iterator[tuple[int, int] | int]:
    """Places in annotations, and lines of `TYPE_CHECKING` blocks and of decorators that cache."""
    for node in ast.walk(tree):
        for note in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            for part in ast.walk(note) if note is not None else ():
                if isinstance(part, ast.expr):
                    first, last = part.lineno, part.end_lineno or part.lineno
                    yield from range(first, last) if last > first else ()
                    yield from ((first, column) for column in range(part.col_offset, part.end_col_offset or 0))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for decorator in getattr(node, "decorator_list", ()):
            if re.search(r"\b(lru_)?cache\b", ast.unparse(decorator)):
                yield decorator.lineno


def tests_of(room: str, module: str) -> list[str]:
    """The room's test files, those that import the module first."""
    files = sorted({file for pattern in ROOMS[room][1].split() for file in ROOT.glob(pattern)})
    dotted = module.removesuffix(".py").replace("/", ".")
    own = [f for f in files if re.search(rf"{re.escape(dotted)}\b(?!\.)", _read(f))]
    return [str(file.relative_to(ROOT)) for file in sorted(files, key=lambda f: (f not in own, f.stat().st_size))]


def run_tests(fault: Fault | None, tests: Sequence[str], log: Path, limit_s: float) -> tuple[str, float]:
    """Runs tests in a fork with the fault in place; `survived`, `killed` or `timeout`, and the processor's seconds."""
    if (child := os.fork()) == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s), int(limit_s) + 5))
        with log.open("wb") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        status = 3
        try:
            _plant(fault)
            status = int(importlib.import_module("pytest").main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
        except BaseException:  # a fork must end here, and not in the code of its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    end = time.monotonic() + 30 * limit_s  # a test that waits for something that never comes takes no processor
    while (ended := os.wait4(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.05)
    seconds = ended[2].ru_utime + ended[2].ru_stime
    if os.WIFSIGNALED(ended[1]) and os.WTERMSIG(ended[1]) in (signal.SIGXCPU, signal.SIGKILL):
        return "timeout", seconds
    return "survived" if ended[1] == 0 else "killed", seconds


def _plant(fault: Fault | None) -> None:
    sys.dont_write_bytecode = True
    if fault is None:
        return
    target, read = str(ROOT / fault.module), SourceFileLoader.get_data
    cached = re.compile(rf"__pycache__/{re.escape(Path(target).stem)}\.")

    def get_data(self: SourceFileLoader, path: str) -> bytes:
        if self.path == target and cached.search(str(path)):
            raise OSError("no bytecode: the module has a planted fault")
        return fault.text.encode("utf-8") if str(path) == target else read(self, path)

    SourceFileLoader.get_data = get_data  # pyright: ignore[reportAttributeAccessIssue]


def try_room(room: str, args: argparse.Namespace) -> dict[str, Any]:
    """Tries the room's faults that have no result yet."""
    command = ["uv", "run", "-q", "--no-project", "--with", COSMIC_RAY, "python", __file__, room, "--list"]
    command += ["--sample", str(args.sample), "--seed", str(args.seed)]
    listed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, encoding="utf-8").stdout
    faults = [Fault(**json.loads(line)) for line in listed.splitlines()]
    faults = [fault for fault in faults if re.search(args.only, fault.module)]
    out = args.out / f"{room}.jsonl"
    results = {r["key"]: r for r in map(json.loads, _read(out).splitlines())} if out.exists() else {}
    plain, seconds = run_tests(None, tests_of(room, ""), args.out / f"{room}.log", 600)
    if plain != "survived":
        raise SystemExit(f"{room}: the tests fail without a fault; see {args.out / f'{room}.log'}.")
    for number, fault in enumerate(faults):
        known = results.get(fault.key)
        if known and not (args.again and known["outcome"] != "killed"):
            continue
        log = args.out / f"{room}.log"
        outcome, took = run_tests(fault, tests_of(room, fault.module), log, 3 * seconds + 30)
        entry = {k: v for k, v in asdict(fault).items() if k != "text"}
        now = fault.text.splitlines()[fault.line - 1].strip()
        entry |= {"key": fault.key, "now": now, "outcome": outcome, "seconds": round(took, 1)}
        results[fault.key] = entry
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        sys.stderr.write(f"{room} {number + 1}/{len(faults)} {outcome} {fault.module}:{fault.line} {now}\n")
    mine = [results[fault.key] for fault in faults]
    survivors = sorted((r["module"], r["line"], r["operator"], r["now"]) for r in mine if r["outcome"] == "survived")
    for module, line, operator, now in survivors:
        print(f"{module}:{line}: {operator}: {now}")
    return {"faults": len(mine), "killed": len(mine) - len(survivors), "tests_s": round(seconds, 1)}


def main() -> None:
    """Tries the rooms one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="+", choices=list(ROOMS))
    parser.add_argument("--sample", type=int, default=200, help="faults per room")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="repeat the faults that survived or took too long")
    parser.add_argument("--only", default="", help="a pattern: of the sample, only faults in such modules")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "mutation")
    parser.add_argument("--list", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.list:
        return list_faults(args.rooms[0], args.sample, args.seed)
    os.nice(19)
    args.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(args.out.resolve() / "programs"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    for name in LARGE:
        importlib.import_module(name)
    print(json.dumps({room: try_room(room, args) for room in args.rooms}))
    return None


if __name__ == "__main__":
    main()
