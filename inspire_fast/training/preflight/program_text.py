"""Properties of a compiled program, read from its text (XLA's HLO): arrays, collectives, and how often each runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
import math
import re

_BITS = {"pred": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "s4": 4, "u4": 4, "f8e4m3fn": 8}
_ARRAY = re.compile(r"\b(pred|bf16|f16|f32|f64|c64|f8e4m3fn|[su](?:4|8|16|32|64))\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([a-z][\w\-]*)\(")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{\s*(?:/\*.*\*/)?\s*$")
_CALLED = re.compile(r"(?:body|condition|calls|to_apply|branch_computations)=(%[\w.\-]+|\{[^}]*\})")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_NAME = re.compile(r'op_name="([^"]*)"')

# Instructions whose computations are started one after the other; those of others are parts of one kernel.
_STARTED_BY = (" while(", " call(", " conditional(", " async-start(")
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# Their results are views or names of other arrays.
_NO_ARRAY = {
    "tuple",
    "get-tuple-element",
    "parameter",
    "bitcast",
    "while",
    "conditional",
    "call",
    "optimization-barrier",
}
_NO_KERNEL = _NO_ARRAY | {"constant", "after-all", "async-start", "async-done", "partition-id", "replica-id"}


@dataclass(frozen=True)
class ArrayOf:
    """An array of a program.

    Attributes:
        dtype, shape: as XLA writes them.
        op: kind of the instruction that makes it.
        runs: how often that runs in one step.
        source: where the instruction comes from, as JAX names it.
        fused: it lies inside a fusion and takes no memory.
    """

    dtype: str
    shape: tuple[int, ...]
    op: str
    runs: int
    source: str
    fused: bool

    @property
    def size(self) -> int:
        """Bytes on one device."""
        bits = _BITS.get(self.dtype) or int(self.dtype[1:])
        return math.ceil(math.prod(self.shape) * bits / 8)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def arrays_of(text: str) -> list[ArrayOf]:
    """All arrays that the instructions of a program make, computation by computation.

    Args:
        text: `jax.stages.Compiled.as_text()`.
    """
    computations, entry = _computations(text)
    runs = _runs(computations, entry)
    fused = {name for lines in computations.values() for line in lines if " fusion(" in line for name in _called(line)}
    found = []
    for name, lines in computations.items():
        if name not in runs:
            continue
        for line in lines:
            made = _INSTRUCTION.match(line)
            if made is None or made[3] in _NO_ARRAY:
                continue
            source, arrays = _NAME.search(line), _ARRAY.findall(made[2])
            if made[3] == "all-gather-start":  # its result names the operands first
                arrays = arrays[len(arrays) // 2 :]
            for dtype, axes in arrays:
                shape = tuple(int(size) for size in axes.split(",") if size)
                found.append(ArrayOf(dtype, shape, made[3], runs[name], source[1] if source else "", name in fused))
    return found


def collectives(arrays: Iterable[ArrayOf]) -> dict[str, tuple[int, int]]:
    """Kind of collective -> how many run in one step, and the bytes of their results on one device."""
    found: dict[str, tuple[int, int]] = {}
    for array in arrays:
        kind = array.op.removesuffix("-start")
        if kind in COLLECTIVES:
            count, size = found.get(kind, (0, 0))
            found[kind] = count + array.runs, size + array.runs * array.size
    return found


def kernels(text: str) -> int:
    """Kernels that a GPU starts in one call of a program: what is neither inside a fusion nor a view of an array."""
    computations, entry = _computations(text)
    started = _runs(computations, entry, only=_STARTED_BY)
    made = {name: (_INSTRUCTION.match(line) for line in lines) for name, lines in computations.items()}
    ops = {name: [line[3] for line in lines if line is not None] for name, lines in made.items()}
    return sum(times * sum(op not in _NO_KERNEL for op in ops[name]) for name, times in started.items())


def unsplit(arrays: Iterable[ArrayOf], rows: int) -> list[ArrayOf]:
    """Arrays of floating-point numbers that have the whole batch's rows on one device.

    Args:
        arrays: of the program.
        rows: of the global batch; choose a number that no other axis has.
    """
    return [a for a in arrays if rows in a.shape and len(a.shape) > 2 and a.dtype.startswith(("f", "bf"))]


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    """Computation -> its lines, and the name of the first one that runs."""
    found: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in text.splitlines():
        if not line.startswith(" ") and (head := _COMPUTATION.match(line)) and not line.startswith("HloModule"):
            lines = found[head[2]] = []
            entry = head[2] if head[1] else entry
        else:
            lines.append(line)
    return found, entry


def _called(line: str) -> list[str]:
    return [name.strip(" %{}") for names in _CALLED.findall(line) for name in names.split(",")]


def _runs(computations: dict[str, list[str]], entry: str, only: tuple[str, ...] = ("",)) -> dict[str, int]:
    """Computation -> how often it runs in one step. A loop of unknown length counts once.

    Args:
        computations: lines by name.
        entry: the first one that runs.
        only: parts of lines whose computations are followed; by default all.
    """
    runs = {entry: 1}
    pending = [entry]
    while pending:
        name = pending.pop()
        for line in computations.get(name, ()):
            if not any(part in line for part in only):
                continue
            trips = _TRIPS.search(line)
            for called in _called(line):
                times = runs[name] * (int(trips[1]) if trips else 1)
                if called in computations and times > runs.get(called, 0):
                    runs[called] = times
                    pending.append(called)
    return runs
