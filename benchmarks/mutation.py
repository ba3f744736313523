"""Mutation testing: small faults are planted in the modules of a room, and its tests should notice each of them.

`uv run python benchmarks/mutation.py ROOM ... [--sample 200] [--only PATTERN] [--again]`

cosmic-ray, in an environment of its own, lists the faults: another operator, a number one off, a condition negated, a
decorator or a loop's body left out. Of all faults of one kind at one place, one is taken, then a seeded sample of the
room. Annotations and sizes of caches are left out, where no test could notice. The tests of a fault are those of its
room, up to the first that fails. They run in forks of this process; the fault is in memory only. (A process that a
test starts does not have it.)

A fault inside of a function is tried by the tests that run the function, in a fork of a process that has collected
the room's tests; the function's code is exchanged. Other faults (a constant, a decorator, a function that runs when
something is imported), and with `--again` those that survive, are tried by all tests of the room in a fork that imports
the package anew. Hypothesis tries 25 examples, so that a fault that only the others would show counts as survived.

A fault that the first tests have not noticed within `ENOUGH_S` seconds of processor time counts as survived, even if a
later test would notice it: tests that compile programs take minutes.

Results are kept per fault below `--out`, so an interrupted run goes on, and so does a run after a module has changed.
Which tests run which lines is found out anew each time, unless `--same-tests` says that nothing has changed.
`--again` repeats the faults that survived or took too long (which count as killed). The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
import contextlib
from dataclasses import asdict, dataclass
import gc
import hashlib
import importlib
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
import inspect
import json
import os
from pathlib import Path
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import traceback
from types import CodeType, FrameType, FunctionType
from typing import Any
import warnings

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "inspire_fast"
COSMIC_RAY = "cosmic-ray==8.7.0"
LARGE = ("numpy", "pytest", "jax", "flax.nnx")
NOT_BEFORE = {"inspire_fast", "tests", "conftest", "hypothesis", "_hypothesis_globals", "mujoco", "robosuite", "OpenGL"}
OPTIONS = ("-x", "-q", "--tb=native", "-p", "no:cacheprovider", "-o", "timeout=0")
STUCK_S = 60
ENOUGH_S = 90
NEITHER, LATER = 0, 9  # exit statuses of a fork whose tests pass, and of one that could not plant its fault
NO_TESTS = 5  # pytest's exit status where `-k` chooses none
UNNOTICEABLE = re.compile(r"_(Eq_Is|NotEq_IsNot|Is_Eq|IsNot_NotEq)$")  # the same for None, enums and small numbers
ROOMS: dict[str, tuple[str, str]] = {
    "statistics": ("evaluation/report/statistics.py", "tests/evaluation/test_statistics.py"),
    "normalization": (
        "data/normalization/*.py",
        "tests/data/test_*[nr][om]*ali*.py tests/data/test_statistics.py tests/data/test_angles.py",
    ),
    "hindsight": (
        "labeling/hindsight/*.py",
        "tests/labeling/test_[hmg][iar]*.py tests/labeling/test_[lv]a[bl]*.py",
    ),
    "dialogue": ("dialogue/**/*.py", "tests/dialogue/test_*.py"),
    "robots": ("robots/**/*.py", "tests/robots/test_*.py tests/robots/*/test_*.py"),
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
    for _, file, name, occurrence, line in sorted(chosen):
        if not sample:
            break
        try:
            text = mutating.mutate_code(_read(file), operators[name], occurrence)
        except IndexError:  # cosmic-ray cannot exchange `except module.Error`
            sys.stderr.write(f"{file.name}:{line}: {name} cannot be planted\n")
            continue
        if _compiles(text):
            module = str(file.relative_to(ROOT))
            fault = Fault(module=module, line=line, operator=name.split("/")[1], occurrence=occurrence, text=text)
            print(json.dumps(asdict(fault)))
            sample -= 1


def _compiles(text: str) -> bool:
    """False for what no test needs to notice, because Python does: errors and warnings of the compiler."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            compile(text, "fault", "exec", dont_inherit=True)
        except (SyntaxError, SyntaxWarning):
            return False
    return True


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


def tests_of(room: str) -> list[str]:
    """The room's test files."""
    return [str(file.relative_to(ROOT)) for p in ROOMS[room][1].split() for file in sorted(ROOT.glob(p))]


def in_fork(work: Callable[[], int], log: Path, limit_s: float, *, forks: bool = False) -> tuple[str, float]:
    """Does the work in a fork; `survived` (status 0), `later` (9), `killed` or `timeout`, and its processor seconds.

    A fork that sleeps for long is ended, unless it `forks` itself: then it waits for others.
    """
    if (child := os.fork()) == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit_s), int(limit_s) + 5))
        with log.open("wb") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        status = 3
        try:
            status = work()
        except BaseException:  # a fork must end here, and not in the code of its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    checked, used, began = time.monotonic(), 0.0, time.monotonic()
    while (ended := os.wait4(child, os.WNOHANG))[0] == 0:
        time.sleep(0.01)
        if not forks and time.monotonic() > began + max(2 * limit_s, 3 * STUCK_S):  # it polls what never comes
            os.killpg(child, signal.SIGKILL)
        if not forks and time.monotonic() > checked + STUCK_S:
            state, now = _state(child)
            if state == "S" and now < used + 1:  # it waits for something that never comes, which takes no processor
                os.killpg(child, signal.SIGKILL)
            checked, used = time.monotonic(), now
    seconds = ended[2].ru_utime + ended[2].ru_stime
    if os.WIFSIGNALED(ended[1]) and os.WTERMSIG(ended[1]) in (signal.SIGXCPU, signal.SIGKILL):
        return "timeout", seconds
    return {NEITHER: "survived", LATER: "later"}.get(os.waitstatus_to_exitcode(ended[1]), "killed"), seconds


def _state(process: int) -> tuple[str, float]:
    fields = _read(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Order:
    """A plugin of pytest: tests that run the module's functions first, the quick ones first. Notes what fails."""

    def __init__(self, module: str, table: Path) -> None:
        file, self.failed = str(ROOT / module), table.with_suffix(".failed")
        self.places = {
            name: (all(hit[0] != file for hit in hits), seconds) for name, seconds, hits in json.loads(_read(table))
        }

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Sorts the tests."""
        items.sort(key=lambda item: self.places.get(item.nodeid, (True, 1e9)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Notes a test that fails."""
        note_failure(report, self.failed)


def likely_file(module: str, table: Path) -> str:
    """The test file of which most tests run the module's functions."""
    rows = [(name.partition("::")[0], hits) for name, _, hits in json.loads(_read(table))]
    files = Counter(file for file, hits in rows if any(hit[0] == str(ROOT / module) for hit in hits))
    return (files or Counter(file for file, _ in rows)).most_common(1)[0][0]


def run_tests(fault: Fault, tests: Sequence[str], log: Path, limit_s: float) -> tuple[str, float]:
    """Runs tests in a fork that imports the package, with the fault in place."""

    def work() -> int:
        _plant(fault)
        order = Order(fault.module, log.with_suffix(".lines"))
        status = int(importlib.import_module("pytest").main([*OPTIONS, *tests], plugins=[order]))
        return NEITHER if status == NO_TESTS else status

    return in_fork(work, log, limit_s)


class Forks:
    """A plugin of pytest that tries faults in forks of the process that has collected the tests.

    A fault whose function runs during the collection is not tried: what it made is there already.
    """

    def __init__(
        self,
        faults: Sequence[Fault],
        log: Path,
        save: Callable[[Fault, str, float], None],
        *,
        twice: bool,
        same_tests: bool,
    ):
        self.faults, self.log, self.save, self.twice, self.same_tests = faults, log, save, twice, same_tests
        self.files = {str(ROOT / fault.module): _functions(ROOT / fault.module) for fault in faults}
        self.hits: set[tuple[str, int]] = set()

    def pytest_sessionstart(self) -> None:
        """Notes from here on which lines run."""
        threading.settrace(self.trace)
        sys.settrace(self.trace)

    def trace(self, frame: FrameType, _event: str, _: object) -> Any:
        """Notes a line."""
        if frame.f_code.co_filename not in self.files:
            return None
        self.hits.add((frame.f_code.co_filename, frame.f_lineno))
        return self.trace

    def pytest_runtestloop(self, session: Any) -> bool:
        """Tries the faults instead of running the tests."""
        at_import = self.hits
        items = {item.nodeid: item for item in session.items}  # those of `--tests`
        functions = [f for f in gc.get_objects() if isinstance(f, FunctionType)]
        functions = [f for f in functions if f.__code__.co_filename in self.files]
        gc.freeze()  # a collection of garbage in a fork would copy all pages
        table = self.log.with_suffix(".lines")
        known = self.same_tests and table.exists()
        ended = "survived" if known else in_fork(lambda: self.trace_tests(session, table), self.log, 6000)[0]
        if ended != "survived":
            raise SystemExit(f"{self.log}: the tests fail without a fault ({ended}).")
        sys.settrace(None)
        threading.settrace(None)  # pyright: ignore[reportArgumentType]
        lines = {
            name: (seconds, {tuple(hit) for hit in hits})
            for name, seconds, hits in json.loads(_read(table))
            if name in items
        }
        for fault in self.faults:
            file = str(ROOT / fault.module)
            of_function = {(file, line) for line in self.files[file].get(fault.line, ())}
            if not of_function or of_function & at_import:
                continue
            ran = [(seconds, name) for name, (seconds, hits) in lines.items() if hits & of_function]
            ran.sort(key=lambda r: ((file, fault.line) not in lines[r[1]][1], r[0]))
            limit_s = 4 * sum(seconds for seconds, _ in ran) + 10
            if not self.twice:  # no test begins after `ENOUGH_S`; what runs for long then is a loop without an end
                limit_s = min(limit_s, ENOUGH_S + 4 * max([seconds for seconds, _ in ran], default=0) + 10)
            chosen = [items[name] for _, name in ran]

            def attempt(fault: Fault = fault, chosen: Sequence[Any] = chosen) -> int:
                sys.dont_write_bytecode = True
                enough_s = 1e9 if self.twice else ENOUGH_S
                return run_items(session, chosen, enough_s) if chosen and exchange(fault, functions) else LATER

            outcome, seconds = in_fork(attempt, self.log, limit_s)
            if outcome in ("killed", "timeout") or (outcome == "survived" and not self.twice):
                self.save(fault, outcome, seconds)
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Notes a test that fails."""
        note_failure(report, self.log.with_suffix(".failed"))

    def trace_tests(self, session: Any, table: Path) -> int:
        """Writes the processor seconds and the lines of each test."""
        rows: list[tuple[str, float, list[tuple[str, int]]]] = []
        for item in session.items:
            if "jax" in sys.modules:  # a program that an earlier test has compiled would run no line of ours
                sys.modules["jax"].clear_caches()
            self.hits, began = set(), time.process_time()
            if status := run_items(session, [item]):
                return status
            rows.append((item.nodeid, time.process_time() - began, sorted(self.hits)))
        table.write_text(json.dumps(rows), encoding="utf-8")
        return NEITHER


def note_failure(report: Any, file: Path) -> None:
    """Writes the name of a test that fails."""
    if report.failed:
        file.write_text(report.nodeid, encoding="utf-8")


def run_items(session: Any, items: Sequence[Any], enough_s: float = 1e9) -> int:
    """Runs collected tests up to the first that fails, or until they have taken this much processor time."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
        if time.process_time() > enough_s:
            break
    return NEITHER


def _functions(file: Path) -> dict[int, range]:
    """The lines of the innermost function's body, for each line in one."""
    lines: dict[int, range] = {}
    for node in ast.walk(ast.parse(_read(file))):  # outer functions first
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1)
            lines |= dict.fromkeys(body, body)
    return lines


def exchange(fault: Fault, functions: Sequence[FunctionType]) -> bool:
    """Gives the functions the fault's code; false if the fault is not inside of functions, or none was found."""
    file = str(ROOT / fault.module)
    found: dict[CodeType, CodeType] = {}
    before, after = (compile(text, file, "exec", dont_inherit=True) for text in (_read(Path(file)), fault.text))
    if not _compare(before, after, found) or not found:
        return False
    affected = [function for function in functions if function.__code__ in found]
    for function in affected:
        function.__code__ = found[function.__code__]
    return bool(affected)


def _compare(before: CodeType, after: CodeType, found: dict[CodeType, CodeType]) -> bool:
    """Whether only functions differ. Adds those, and those inside of them, to `found`."""
    inner = [[c for c in code.co_consts if isinstance(c, CodeType)] for code in (before, after)]
    rest = [(code.co_code, [c for c in code.co_consts if not isinstance(c, CodeType)]) for code in (before, after)]
    names = [[c.co_name for c in codes] for codes in inner]
    if repr(rest[0]) != repr(rest[1]) or names[0] != names[1]:  # as text, since 1 == True
        return False
    for old, new in zip(*inner, strict=True):
        if old == new:
            continue
        if old.co_flags & inspect.CO_NEWLOCALS:  # no body of a class
            found[old] = new
            _compare(old, new, found)
        elif not _compare(old, new, found):
            return False
    return True


def _plant(fault: Fault) -> None:
    sys.dont_write_bytecode = True
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
    out, log = args.out / f"{room}.jsonl", args.out / f"{room}.log"
    tried = len(_results(out))

    def open_faults() -> list[Fault]:
        done = {
            r["key"] for n, r in enumerate(_results(out)) if n >= tried or r["outcome"] == "killed" or not args.again
        }
        return [fault for fault in faults if fault.key not in done]

    def save(fault: Fault, outcome: str, took: float) -> None:
        entry = {k: v for k, v in asdict(fault).items() if k != "text"}
        now = fault.text.splitlines()[fault.line - 1].strip()
        failed = log.with_suffix(".failed")
        by = _read(failed) if outcome == "killed" and failed.exists() else ""
        failed.unlink(missing_ok=True)
        entry |= {"key": fault.key, "now": now, "outcome": outcome, "seconds": round(took, 1), "by": by}
        with out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        sys.stderr.write(f"{room} {outcome} {fault.module}:{fault.line} {now}\n")

    some = ("-k", args.tests) if args.tests else ()
    tests = [*tests_of(room), *some]
    import_large(tests, args.out / f"{room}.modules")
    gc.freeze()
    forks = Forks(open_faults(), log, save, twice=args.again, same_tests=args.same_tests)
    pytest = importlib.import_module("pytest")
    in_fork(lambda: int(pytest.main([*OPTIONS, *tests], plugins=[forks])), log.with_suffix(".out"), 1e5, forks=True)
    seconds = sum(row[1] for row in json.loads(_read(log.with_suffix(".lines"))))
    for fault in open_faults():
        likely = likely_file(fault.module, log.with_suffix(".lines"))
        outcome, took = run_tests(fault, [likely, *some], log, 4 * seconds + 30)
        if outcome == "survived":
            outcome, took = run_tests(fault, tests, log, 4 * seconds + 30)
        save(fault, outcome, took)
    results = {result["key"]: result for result in _results(out)}
    mine = [results[fault.key] for fault in faults]
    survivors = sorted((r["module"], r["line"], r["operator"], r["now"]) for r in mine if r["outcome"] == "survived")
    for module, line, operator, now in survivors:
        print(f"{module}:{line}: {operator}: {now}")
    timeouts = sum(r["outcome"] == "timeout" for r in mine)
    return {
        "faults": len(mine),
        "killed": len(mine) - len(survivors),
        "of_these_timeout": timeouts,
        "tests_s": round(seconds, 1),
    }


def _results(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _read(out).splitlines()] if out.exists() else []


def import_large(tests: Sequence[str], table: Path) -> None:
    """Imports the foreign modules that the tests import, but no plugin of pytest: pytest wants to import those."""

    def work() -> int:
        status = int(importlib.import_module("pytest").main(["--collect-only", "-q", *OPTIONS, *tests]))
        table.write_text("\n".join(name for name in sys.modules if name != "__main__"), encoding="utf-8")
        return status

    if not table.exists():
        in_fork(work, table.with_suffix(".log"), 600)
    plugins = {re.split(r"[.:]", plugin.value)[0] for plugin in entry_points(group="pytest11")}
    for name in _read(table).splitlines():
        if name.split(".")[0] not in plugins | NOT_BEFORE:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def main() -> None:
    """Tries the rooms one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="+", choices=list(ROOMS))
    parser.add_argument("--sample", type=int, default=200, help="faults per room")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="repeat the faults that survived or took too long")
    parser.add_argument("--tests", default="", help="an expression of pytest's -k: only such tests")
    parser.add_argument("--same-tests", action="store_true", help="package and tests are those of the last run")
    parser.add_argument("--only", default="", help="a pattern: of the sample, only faults in such modules")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "mutation")
    parser.add_argument("--list", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.list:
        return list_faults(args.rooms[0], args.sample, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    sys.path.remove(str(ROOT / "benchmarks"))  # `libero` and `tokenizers` are the foreign ones
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(args.out.resolve() / "programs"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    os.environ["HYPOTHESIS_PROFILE"] = "few"
    os.environ.setdefault("MPLBACKEND", "agg")
    for name in LARGE:
        importlib.import_module(name)
    print(json.dumps({room: try_room(room, args) for room in args.rooms}))
    return None


if __name__ == "__main__":
    main()
