"""Fuzzer of the frame readers: `uv run --with atheris python benchmarks/fuzz_frames.py [--minutes 10] [--quick]`.

Every frame takes the path of a request through the server (`unpack`, `request_from_wire`, the robot's contract, the
echo of the state) and of a response through the client (`unpack`, `chunk_from_wire`). Each may give a value or one of
the errors that the function documents. Findings are: any other exception or warning, more than a second or 256 MB for
one frame, a value that changes when it is packed and read again, the death of the process, and memory that grows when
the same frames are read repeatedly.

It uses atheris (libFuzzer, guided by the coverage of client, core and robots) if installed, else it is unguided. Both
mutate real frames by structure (values, types, keys, shapes, lengths) and by bytes. --corpus keeps the frames of
findings. The last line is one JSON object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
import hashlib
import importlib
import importlib.util
import json
import multiprocessing
import os
from pathlib import Path
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from typing import Any, Literal
import warnings

import msgpack
import numpy as np
import tyro

from inspire_fast.core.files import write_json

_LIMIT_BYTES = 1 << 20
_SLOW_S = 1.0
_LARGE_KB = 256 << 10
_REREADINGS = 40


@dataclass(frozen=True, kw_only=True)
class Args:
    """Settings of the fuzzer.

    Attributes:
        minutes: duration.
        quick: one minute.
        engine: `auto` takes atheris where it is installed.
        corpus: where interesting frames and findings are kept; a temporary folder by default.
        seed: of the mutations.
        worker: internal: the file that a worker process writes its counts to.
    """

    minutes: float = 10.0
    quick: bool = False
    engine: Literal["auto", "atheris", "mutation"] = "auto"
    corpus: Path | None = None
    seed: int = 0
    worker: Path | None = None


def seeds() -> list[bytes]:
    """Real frames: requests of every robot with and without options, responses, and containers of every size class."""
    from inspire_fast.client.codec import pack
    from inspire_fast.client.messages import chunk_to_wire, request_to_wire
    from inspire_fast.core.policy import RequestOptions
    from inspire_fast.core.types import ActionChunk, Answer, Status
    from inspire_fast.robots import ROBOTS

    force = RequestOptions(mode="force", targets=("the bowl",), answers=("left",), temperature=0.5, seed=7, session="a")
    answer = Answer(question="direction", target="the bowl", answer="left", probability=0.75)
    chunks = [
        ActionChunk(actions=np.ones((2, 7), np.float32), answers=(answer,), timing_ms={"infer_ms": 1.0}),
        ActionChunk(actions=None, status=Status.HELD, reason="ran out of tokens"),
    ]
    frames = [
        pack(request_to_wire(robot.fake_native(image_hw=(4, 4)), force)) for robot in map(ROBOTS.__getitem__, ROBOTS)
    ]
    frames += [
        pack(request_to_wire(robot.fake_native(image_hw=(4, 4)), None)) for robot in map(ROBOTS.__getitem__, ROBOTS)
    ]
    frames += [pack(chunk_to_wire(chunk, state=np.zeros(8), server_timing={"infer_ms": 1.0})) for chunk in chunks]
    frames += [pack({"x": np.float32(1.5), "y": np.bool_(1), "s": np.array(["ab"]), "t": np.zeros(2, "m8[s]")})]
    frames += [pack({"x": list(range(20)), "y": bytes(300), "z": "a" * 300, "k": {str(i): i for i in range(20)}})]
    return frames


class Target:
    """Reads frames and keeps the findings."""

    def __init__(self, corpus: Path) -> None:
        from inspire_fast.client import codec, messages
        from inspire_fast.client.errors import ProtocolError
        from inspire_fast.robots import ROBOTS

        self._codec, self._messages, self._protocol_error = codec, messages, ProtocolError
        self._robots = [ROBOTS[name] for name in ROBOTS]
        self._corpus = corpus
        self.executions = 0
        self.outcomes: Counter[str] = Counter()
        self.findings: dict[str, dict[str, Any]] = {}

    def __call__(self, frame: bytes) -> None:
        """Reads one frame; never raises."""
        self.executions += 1
        start, before_kb = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            self._read(frame)
        except (Exception, RecursionError, MemoryError) as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            self._keep(f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}", frame, str(error)[:300])
        seconds = time.perf_counter() - start
        if seconds > _SLOW_S:
            self._keep("slow", frame, f"{seconds:.1f} s")
        if self.executions > 1000:  # imports and pools fill up first
            grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
            if grown_kb > _LARGE_KB:
                self._keep("large", frame, f"{grown_kb / 1024:.0f} MB")

    def _read(self, frame: bytes) -> None:
        try:
            value = self._codec.unpack(frame, max_bytes=_LIMIT_BYTES)
        except self._codec.CodecError:
            self.outcomes["refused by unpack"] += 1
            return
        self._survives_packing(value)
        try:
            self._messages.chunk_from_wire(value)
            self.outcomes["a response"] += 1
        except self._protocol_error:
            self.outcomes["refused as a response"] += 1
        try:
            observation, _ = self._messages.request_from_wire(value)
        except ValueError:
            self.outcomes["refused as a request"] += 1
            return
        for robot in self._robots:
            try:
                robot.canonical(observation)
            except ValueError:
                self.outcomes["refused by the contract"] += 1
                continue
            self.outcomes["a request"] += 1
            state = np.asarray(observation[robot.state_key]).tolist() if robot.state_key else None
            self._codec.pack({"state": state})

    def _survives_packing(self, value: Any) -> None:
        try:
            packed = self._codec.pack(value)
        except self._codec.CodecError:  # a long double comes in as a scalar and has no Python value to go out as
            self.outcomes["read, not packable"] += 1
            return
        assert self._codec.pack(self._codec.unpack(packed)) == packed, "reads back as another value"

    def _keep(self, kind: str, frame: bytes, said: str) -> None:
        finding = self.findings.setdefault(kind, {"count": 0, "said": said})
        finding["count"] += 1
        if finding["count"] == 1:
            finding["frame"] = str(self._corpus / f"finding-{hashlib.sha1(frame).hexdigest()[:12]}")
            Path(finding["frame"]).write_bytes(frame)

    def write(self, path: Path) -> None:
        """Writes the counts atomically, since the process may die at any time."""
        counts = {"executions": self.executions, "outcomes": self.outcomes, "findings": self.findings}
        write_json(path, counts)


NUMBERS = [0, 1, -1, 2, 127, 128, 255, 256, 2**31 - 1, 2**31, 2**32, 2**63 - 1, -(2**63), 2**64 - 1, 1e300, 5e-324]
DTYPES = [
    "<f4",
    "<f8",
    "|u1",
    "<i8",
    "|b1",
    "<U1",
    "<U9",
    "|S0",
    "|S1",
    "|O",
    "<f16",
    "<M8[s]",
    "<m8",
    "<c8",
    "|V4",
    ">f4",
    "i4,i4",
]
KEYS: list[Any] = [
    *("inspire", "prompt", "actions", "status", "reason", "answers", "policy_timing", "server_timing", "state", "mode"),
    *("targets", "temperature", "seed", "question", "observation/state", "observation/image", b"__ndarray__"),
    *(b"__npgeneric__", b"data", b"dtype", b"shape", "", "k" * 200, b"\xff", 3, None),
]  # fmt: skip


class Mutator:
    """Mutates frames: usually one value, type, key or length in the structure, else bytes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __call__(self, frame: bytes, mutate_bytes: Callable[[bytes], bytes] | None = None) -> bytes:
        """One frame -> another one."""
        if self._random.random() < 0.3:
            return (mutate_bytes or self._bytes)(frame)
        try:
            tree = msgpack.unpackb(frame, strict_map_key=False, unicode_errors="surrogateescape")
            for _ in range(self._random.choice([1, 1, 1, 2, 4])):
                tree = self._tree(tree)
            return msgpack.packb(tree, unicode_errors="surrogateescape") or b""
        except Exception:  # not a message, or one that cannot be packed any more: its bytes are changed instead
            return (mutate_bytes or self._bytes)(frame)

    def _tree(self, node: Any) -> Any:
        if isinstance(node, dict) and node and self._random.random() < 0.85:
            node = dict(node)
            key = self._random.choice(list(node))
            choice = self._random.random()
            if choice < 0.1:
                del node[key]
            elif choice < 0.2:
                node[self._random.choice(KEYS)] = node[key]
            elif choice < 0.25:
                node[self._random.choice(KEYS)] = self._value()
            else:
                node[key] = self._tree(node[key])
            return node
        if isinstance(node, list) and node and self._random.random() < 0.7:
            index = self._random.randrange(len(node))
            return [*node[:index], self._tree(node[index]), *node[index + 1 :]] * self._random.choice([1] * 9 + [3])
        if isinstance(node, (bytes, str)) and self._random.random() < 0.5:
            return node[: self._random.randint(0, len(node))] * self._random.choice([1, 1, 1, 2, 50])
        return self._value()

    def _value(self) -> Any:
        pick = self._random
        simple = [None, True, False, float("nan"), float("inf"), "", "a", "ok", "held", "force", b"", bytes(8), [], {}]
        kind = pick.random()
        if kind < 0.5:
            return pick.choice([*simple, *NUMBERS])
        if kind < 0.9:
            return self._array()
        inner = self._value()
        for _ in range(pick.choice([1, 2, 6, 12, 40])):
            inner = pick.choice([[inner], {pick.choice(KEYS): inner}])
        return inner

    def _array(self) -> dict[bytes, Any]:
        pick = self._random
        dtype = pick.choice(DTYPES)
        shape: list[Any] = [
            pick.choice([0, 1, 2, 3, 4, 6, 7, 8, 14]) for _ in range(pick.choice([0, 1, 1, 2, 3, 3, 6]))
        ]
        try:
            size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        except TypeError:
            size = 8
        if pick.random() < 0.1:
            shape = [*shape, pick.choice(NUMBERS)]
        fill = pick.choice([b"\0", b"\1", b"\xff", b"\x7f", None])
        data = pick.randbytes(min(size, 1 << 16)) if fill is None else fill * min(size, 1 << 18)
        if pick.random() < 0.15:
            return {b"__npgeneric__": True, b"data": pick.choice([*NUMBERS, True, "a"]), b"dtype": dtype}
        return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}

    def _bytes(self, frame: bytes) -> bytes:
        data = bytearray(frame or b"\0")
        for _ in range(self._random.choice([1, 1, 2, 8])):
            at = self._random.randrange(len(data))
            match self._random.randrange(4):
                case 0:
                    data[at] = self._random.randrange(256)
                case 1:
                    data[at : at + self._random.randint(1, 8)] = b""
                case 2:
                    data[at:at] = self._random.randbytes(self._random.randint(1, 8))
                case _:
                    data[at : at + 4] = b"\xff\xff\xff\xff"
            data = data or bytearray(b"\0")
        return bytes(data)


def guided(args: Args, corpus: Path, seconds: float, report: Path) -> None:
    """Fuzzes with atheris; ends the process."""
    atheris: Any = importlib.import_module("atheris")  # no dependency of the project
    with atheris.instrument_imports(include=["inspire_fast"]):
        import inspire_fast.client  # noqa: F401
        import inspire_fast.robots  # noqa: F401
    target, mutate = Target(corpus), Mutator(args.seed)
    next_report = 0.0

    def one(frame: bytes) -> None:
        nonlocal next_report
        target(frame)
        if time.monotonic() > next_report:  # libFuzzer leaves without running exit handlers
            target.write(report)
            next_report = time.monotonic() + 1

    def custom(data: bytes, max_size: int, seed: int) -> bytes:  # noqa: ARG001
        return mutate(data, lambda frame: atheris.Mutate(frame, max_size))[:max_size]

    options = [f"-max_total_time={seconds:.0f}", f"-max_len={_LIMIT_BYTES // 4}", "-rss_limit_mb=4096", "-timeout=20"]
    options += [f"-seed={args.seed + 1}", f"-artifact_prefix={corpus}/", "-print_final_stats=1", str(corpus)]
    atheris.Setup([sys.argv[0], *options], one, custom_mutator=custom)
    atheris.Fuzz()


def unguided(args: Args, corpus: Path, seconds: float, report: Path) -> None:
    """Fuzzes without atheris: mutates the pool; a frame with a new result replaces a random frame of it."""
    target, mutate = Target(corpus), Mutator(args.seed)
    pool, pick = [p.read_bytes() for p in sorted(corpus.iterdir())], random.Random(args.seed)
    end, next_report = time.monotonic() + seconds, 0.0
    while (now := time.monotonic()) < end:
        frame = mutate(pick.choice(pool))
        known = len(target.outcomes), target.outcomes["refused by unpack"]
        target(frame)
        if (len(target.outcomes), target.outcomes["refused by unpack"]) == known and len(frame) < 1 << 16:
            if len(pool) < 5000:
                pool.append(frame)
            else:
                pool[pick.randrange(len(pool))] = frame
        if now > next_report:
            target.write(report)
            next_report = now + 1
    target.write(report)


def growth_mb(corpus: Path) -> float:
    """Memory growth from reading the same frames repeatedly, after the first readings."""
    target = Target(Path(tempfile.mkdtemp()))
    frames = [path.read_bytes() for path in sorted(corpus.iterdir())[:2000] if path.is_file()]
    sizes = []
    for _ in range(_REREADINGS):
        for frame in frames:
            target(frame)
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
        sizes.append(pages * resource.getpagesize() / 2**20)
    return sizes[-1] - sizes[_REREADINGS // 4]


def fuzz(args: Args, corpus: Path, engine: str, seconds: float) -> dict[str, Any]:
    """Runs workers, a new one after each death, and sums their counts."""
    total: dict[str, Any] = {"executions": 0, "findings": {}, "outcomes": Counter()}
    end, deaths, seed = time.monotonic() + seconds, 0, args.seed
    report = Path(tempfile.mkdtemp()) / "counts.json"
    while (left := end - time.monotonic()) > 1:
        options = [f"--minutes={left / 60}", f"--engine={engine}", f"--corpus={corpus}", f"--seed={seed}"]
        command = [sys.executable, __file__, *options, f"--worker={report}"]
        rc = subprocess.run(command, check=False, stdout=sys.stderr).returncode
        counts = (
            json.loads(report.read_text(encoding="utf-8"))
            if report.exists()
            else {"executions": 0, "findings": {}, "outcomes": {}}
        )
        report.unlink(missing_ok=True)
        total["executions"] += counts["executions"]
        total["findings"] |= counts["findings"]
        total["outcomes"] += Counter(counts["outcomes"])
        seed += 1
        if rc != 0:
            deaths += 1
            said = f"exit status {rc}; libFuzzer leaves the frame in {corpus}"
            total["findings"][f"death {deaths}"] = {"count": 1, "said": said}
            if deaths == 10:
                break
    return total


def main(args: Args) -> None:
    """Fuzzes, then reads the kept frames repeatedly."""
    warnings.simplefilter("error")  # a warning is a surprise, too
    seconds = 60 * (1 if args.quick else args.minutes)
    engine = args.engine
    if engine == "auto":
        engine = "atheris" if importlib.util.find_spec("atheris") else "mutation"
    corpus = args.corpus or Path(tempfile.mkdtemp(prefix="frames-"))
    if args.worker is not None:
        (guided if engine == "atheris" else unguided)(args, corpus, seconds, args.worker)
        return
    corpus.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(seeds()):
        (corpus / f"seed-{number:03}").write_bytes(frame)
    sys.stderr.write(f"{engine}, {seconds / 60:.1f} minutes, frames in {corpus}\n")
    start = time.monotonic()
    total = fuzz(args, corpus, engine, seconds)
    elapsed = time.monotonic() - start
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        grown = pool.apply(growth_mb, (corpus,))
    for outcome, count in sorted(total["outcomes"].items(), key=lambda item: -item[1]):
        print(f"{outcome:28} {count:10}")
    for kind, finding in total["findings"].items():
        print(f"FINDING {kind}: {finding}")
    figures = {
        "engine": engine,
        "minutes": round(elapsed / 60, 2),
        "executions": total["executions"],
        "executions_per_s": round(total["executions"] / elapsed),
        "frames_kept": len(list(corpus.iterdir())),
        "rss_growth_mb": round(grown, 2),
        "findings": len(total["findings"]),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(tyro.cli(Args))
