"""Throughput and latency of the policy server under many clients: `uv run python benchmarks/server_load.py [--quick]`.

Two servers, each in a process of its own, serve the trained demo policy (`make demo` makes it): one batches requests,
the other answers one at a time. Clients walk through held-out episodes, each from its own start. At each number of
clients the servers take turns, so that both see the same machine; the other one sleeps. Every reply is compared with
the chunk of a single-row call for the same observation.

A third process polls `/healthz` all the time, each time on a new connection. The last part measures the size of a
robot's install. The last line is one JSON object; `p50_ms` and `p99_ms` are the batching server's with 8 clients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
import contextlib
from dataclasses import dataclass, field
import http.client
import importlib.metadata
import itertools
import json
import logging
import multiprocessing
from multiprocessing.managers import SyncManager
import os
from pathlib import Path
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, Literal

import numpy as np
import tyro

from inspire_fast.client import PolicyClient
from inspire_fast.client.codec import pack, unpack

SIZES = (1, 2, 4, 8)
EQUAL_TO = 1e-4
OBSERVATIONS, ALONE = "observations.msgpack", "alone.json"
Side = Literal["batched", "one at a time"]
SIDES: tuple[Side, Side] = ("one at a time", "batched")


@dataclass(frozen=True, kw_only=True)
class Args:
    """Settings of the benchmark.

    Attributes:
        quick: shorter turns.
        checkpoint: checkpoint of the policy.
        config: config of its run, which names the dataset.
        clients: numbers of clients.
        seconds: duration of one turn; None is 20, or 7 with `quick`.
        rounds: turns of each side at each number of clients; results are of all of them together.
        observations: number of different observations.
        speculate: draft each call's answers from the last call's, on both sides.
        max_wait_s: see `ServerConfig`.
        serve: internal: run as this side's server.
        folder: internal: folder of the observations and of the servers' ports.
    """

    quick: bool = False
    checkpoint: Path = Path("runs/demo/checkpoints/demo/default")
    config: str = "demo"
    clients: tuple[int, ...] = (1, 4, 8, 16, 32)
    seconds: float | None = None
    rounds: int = 3
    observations: int = 64
    speculate: bool = True
    max_wait_s: float = 0.005
    serve: Side | None = None
    folder: Path = Path()


def observe(args: Args) -> list[dict[str, Any]]:
    """Native observations of held-out episodes, in their order."""
    from inspire_fast.robots import ROBOTS
    from inspire_fast.training.datasets.sources import open_source
    from inspire_fast.training.named_configs import load_config

    config = load_config(args.config)
    source = open_source(config, "held_out")
    # Eight starts, since successive episodes have the same task; then successive frames, as a robot sends them.
    starts = np.linspace(0, len(source), 8, endpoint=False, dtype=int)
    samples = [source[int(start) + n] for start in starts for n in range(max(1, args.observations // 8))]
    return [ROBOTS[sample.robot or "libero"].native_observation(sample.observation) for sample in samples]


class OneAtATime:
    """A policy without its batches."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The policy's."""
        return self._policy.metadata

    def infer(self, observation: Mapping[str, Any], options: Any = None) -> Any:
        """A single-row call."""
        return self._policy.infer(observation, options)


def serve(args: Args) -> None:
    """Runs one of the servers."""
    from inspire_fast.policy.policy import InspirePolicy, ServingOptions
    from inspire_fast.serving import PolicyServer, ServerConfig

    logging.basicConfig(level=logging.WARNING)
    policy = InspirePolicy.load(args.checkpoint, serving=ServingOptions(speculate=args.speculate))
    batched = args.serve == "batched"
    observations = unpack((args.folder / OBSERVATIONS).read_bytes(), max_bytes=1 << 30)
    policy.warm_up(sorted({o["prompt"] for o in observations}), rows=SIZES if batched else (1,))
    if batched:
        (args.folder / ALONE).write_text(json.dumps(time_policy(policy, observations)), encoding="utf-8")
    port_file = args.folder / batched_name(batched)
    if batched:
        config = ServerConfig(batch_sizes=SIZES, max_wait_s=args.max_wait_s, port_file=port_file)
        PolicyServer(policy, config).serve_forever()
    else:
        PolicyServer(OneAtATime(policy), ServerConfig(max_wait_s=0.0, port_file=port_file)).serve_forever()


def batched_name(batched: bool) -> str:  # noqa: FBT001
    """Name of the port file."""
    return "port-batched" if batched else "port-one-at-a-time"


def time_policy(policy: Any, observations: Sequence[Any]) -> dict[str, float]:
    """Milliseconds of a call of the policy per number of rows, without a server: the upper limit of batching's gain."""
    from inspire_fast.core.policy import RequestOptions

    times: dict[str, float] = {}
    for rows in (1, SIZES[-1]):
        seconds = []
        for _ in range(7):
            start = time.perf_counter()
            policy.infer_batch([observations[n % len(observations)] for n in range(rows)], [RequestOptions()] * rows)
            seconds.append(time.perf_counter() - start)
        times[f"policy_ms_{rows}_rows"] = 1e3 * statistics.median(seconds)
    return times


@contextlib.contextmanager
def servers(args: Args, observations: Sequence[Any]) -> Iterator[tuple[dict[Side, int], dict[str, float]]]:
    """Starts both servers and warms them up; yields their ports and the policy's own times."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        (Path(folder) / OBSERVATIONS).write_bytes(pack(list(observations)))
        started: dict[Side, tuple[subprocess.Popen[bytes], Path]] = {}
        for side in SIDES:
            port_file = Path(folder) / batched_name(side == "batched")
            options = [f"--serve={side}", f"--folder={folder}", f"--checkpoint={args.checkpoint}"]
            options += [f"--max-wait-s={args.max_wait_s}", "--speculate" if args.speculate else "--no-speculate"]
            process = subprocess.Popen([sys.executable, __file__, *options], stdout=sys.stderr)
            stack.callback(process.kill)
            started[side] = process, port_file
        ports: dict[Side, int] = {}
        for side, (process, port_file) in started.items():
            start = time.perf_counter()
            while not port_file.exists():
                if process.poll() is not None:
                    raise SystemExit(f"The server ({side}) did not start.")
                time.sleep(0.1)
            ports[side] = int(port_file.read_text(encoding="utf-8"))
            sys.stderr.write(f"{side}: ready after {time.perf_counter() - start:.0f} s more\n")
        yield ports, json.loads((Path(folder) / ALONE).read_text(encoding="utf-8"))


@dataclass
class Tally:
    """Replies that the clients of one server got in one or more turns."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    waits_ms: list[float] = field(default_factory=list)
    infers_ms: list[float] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)
    rows: np.ndarray = field(default_factory=lambda: np.zeros(2))
    unequal: int = 0
    not_ok: int = 0

    @property
    def per_s(self) -> float:
        """Replies per second."""
        return len(self.latencies_ms) / self.seconds

    def latency_ms(self, percent: float) -> float:
        """A percentile."""
        return float(np.percentile(self.latencies_ms, percent))


def chunk_of(reply: Any) -> np.ndarray | None:
    """Actions of a reply; None if it was held, and then both sides must hold."""
    return None if reply.actions is None else np.asarray(reply.actions)


def ask(
    port: int, clients: int, seconds: float, observations: Sequence[Any], alone: Sequence[Any], into: Tally
) -> None:
    """One turn: clients in threads walk through the observations, each from its own start."""
    lock, ready = threading.Lock(), threading.Barrier(clients + 1)
    end = [np.inf]
    errors: list[BaseException] = []

    def walk(number: int) -> None:
        try:
            with PolicyClient("127.0.0.1", port, connect_timeout_s=60) as client:
                first = number * len(observations) // clients
                client.infer(observations[first])  # the connection's own first time
                ready.wait(120)
                for at in itertools.count(first):
                    index = at % len(observations)
                    start = time.perf_counter()
                    reply = client.infer(observations[index])
                    done = time.perf_counter()
                    if done > end[0]:
                        return
                    with lock:
                        note(into, reply, alone[index], 1e3 * (done - start))
        except BaseException as error:
            errors.append(error)
            ready.abort()

    threads = [threading.Thread(target=walk, args=(n,), daemon=True) for n in range(clients)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        ready.wait(120)
    end[0] = time.perf_counter() + seconds
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    into.seconds += seconds


def note(turn: Tally, reply: Any, alone: np.ndarray | None, latency_ms: float) -> None:
    """Records one reply."""
    turn.latencies_ms.append(latency_ms)
    turn.waits_ms.append(reply.timing_ms.get("server_wait_ms", 0.0))
    turn.infers_ms.append(reply.timing_ms["server_infer_ms"])
    got = chunk_of(reply)
    turn.not_ok += got is None
    if got is None or alone is None:
        turn.unequal += (got is None) != (alone is None)
        return
    turn.differences.append(float(np.abs(got - alone).max()))
    turn.unequal += turn.differences[-1] > EQUAL_TO


def batch_rows(port: int) -> np.ndarray:
    """(sum of the batch sizes over all requests, number of requests), from `/metrics`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    found = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    return np.array([found[f"inspire_fast_batch_rows_{what}"] for what in ("sum", "count")])


def probe(port: int, stop: Any, into: Any) -> None:
    """Asks `/healthz` twenty times a second, in a process of its own."""
    while not stop.is_set():
        start = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/healthz")
        ok = connection.getresponse().read() == b"OK\n"
        connection.close()
        into.append(1e3 * (time.perf_counter() - start) if ok else np.inf)
        time.sleep(0.05)


@contextlib.contextmanager
def probing(manager: SyncManager, port: int) -> Iterator[Any]:
    """Latencies in milliseconds, while the block runs."""
    fresh = multiprocessing.get_context("spawn")
    stop, latencies = fresh.Event(), manager.list()
    process = fresh.Process(target=probe, args=(port, stop, latencies), daemon=True)
    process.start()
    try:
        yield latencies
    finally:
        stop.set()
        process.join(30)


def client_weight() -> dict[str, float]:
    """Time to import the client, and size of its install on disk."""
    # Not `getrusage`, whose figure a new process inherits from its parent.
    say = "import sys; s = open('/proc/self/status').read(); print(s.split('VmHWM:')[1].split()[0], len(sys.modules))"
    cost: dict[str, list[tuple[float, ...]]] = {}
    for _ in range(5):
        for name, program in {
            "": say,
            "numpy": f"import numpy; {say}",
            "client": f"import inspire_fast.client; {say}",
        }.items():
            start = time.perf_counter()
            run = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
            seconds = time.perf_counter() - start
            kb, modules = run.stdout.split()
            cost.setdefault(name, []).append((1e3 * seconds, int(kb) / 1024, int(modules)))
    best = {name: np.min(runs, axis=0) for name, runs in cost.items()}
    sizes = {name: installed_mb(name) for name in ("numpy", "msgpack", "websockets", "pillow")}
    package = Path(__file__).parents[1] / "inspire_fast"
    sizes["inspire-fast"] = sum(path.stat().st_size for path in package.rglob("*.py")) / 2**20
    print("client's install, MB: " + ", ".join(f"{name} {mb:.1f}" for name, mb in sizes.items()))
    return {
        "client_import_ms": float((best["client"] - best[""])[0]),
        "client_import_mb": float((best["client"] - best[""])[1]),
        "client_import_modules": float((best["client"] - best[""])[2]),
        "numpy_import_ms": float((best["numpy"] - best[""])[0]),
        "numpy_import_mb": float((best["numpy"] - best[""])[1]),
        "client_install_mb": sum(sizes.values()),
    }


def installed_mb(name: str) -> float:
    """Size of a distribution's files by its record, bundled libraries included."""
    files = importlib.metadata.files(name) or []
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 2**20


def reference(port: int, observations: Sequence[Any]) -> list[np.ndarray | None]:
    """Replies of the one-at-a-time server to one client that walks through all observations."""
    with PolicyClient("127.0.0.1", port, connect_timeout_s=60) as client:
        return [chunk_of(client.infer(observation)) for observation in observations]


def show(clients: int, side: Side, turn: Tally, first: bool) -> None:  # noqa: FBT001
    """Prints a line of the table."""
    if first:
        print(
            f"{'clients':>7} {'server':14} {'replies':>8} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8} {'infer ms':>9} ",
            end="",
        )
        print(f"{'wait ms':>8} {'rows':>5} {'held':>5} {'unequal':>8} {'largest':>9}")
    print(
        f"{clients:7} {side:14} {len(turn.latencies_ms):8} {turn.per_s:8.2f} {turn.latency_ms(50):8.1f} "
        f"{turn.latency_ms(99):8.1f} {statistics.median(turn.infers_ms):9.1f} {statistics.median(turn.waits_ms):8.1f} "
        f"{turn.rows[0] / turn.rows[1]:5.1f} {turn.not_ok:5} {turn.unequal:8} "
        f"{max(turn.differences, default=0.0):9.1e}",
        flush=True,
    )


def compare(args: Args, ports: Mapping[Side, int], observations: Sequence[Any]) -> dict[str, Any]:
    """Measures all numbers of clients on both servers."""
    seconds = args.seconds or (7.0 if args.quick else 20.0)
    alone = reference(ports["one at a time"], observations)
    figures: dict[str, Any] = {}
    health: dict[Side, list[float]] = {side: [] for side in SIDES}
    turns: dict[tuple[int, Side], Tally] = {}
    with multiprocessing.get_context("spawn").Manager() as manager:
        for clients in args.clients:
            for number in range(args.rounds):
                for side in SIDES if number % 2 == 0 else SIDES[::-1]:
                    sys.stderr.write(f"{clients} clients, {side}, turn {number + 1}\n")
                    turn = turns.setdefault((clients, side), Tally())
                    before = batch_rows(ports[side])
                    with probing(manager, ports[side]) as latencies:
                        ask(ports[side], clients, seconds / args.rounds, observations, alone, turn)
                    turn.rows = turn.rows + batch_rows(ports[side]) - before
                    health[side] += list(latencies)
            for side in SIDES:
                show(clients, side, turns[clients, side], clients == args.clients[0] and side == SIDES[0])
            ratio = turns[clients, "batched"].per_s / turns[clients, "one at a time"].per_s
            figures[f"throughput_ratio_{clients}_clients"] = ratio
            figures[f"throughput_per_s_{clients}_clients"] = turns[clients, "batched"].per_s
            figures[f"p50_ms_{clients}_clients"] = turns[clients, "batched"].latency_ms(50)
            figures[f"p50_ms_{clients}_clients_one_at_a_time"] = turns[clients, "one at a time"].latency_ms(50)
    middle = turns[8 if 8 in args.clients else args.clients[-1], "batched"]
    probes = health["batched"]
    print(f"/healthz during inference, {len(probes)} times: p50 {np.percentile(probes, 50):.1f} ms, ", end="")
    print(f"p99 {np.percentile(probes, 99):.1f} ms, longest {max(probes):.1f} ms")
    return {
        "p50_ms": middle.latency_ms(50),
        "p99_ms": middle.latency_ms(99),
        "healthz_ms_during_inference": float(np.percentile(probes, 99)),
        "healthz_p50_ms_during_inference": float(np.percentile(probes, 50)),
        "replies": sum(len(turn.latencies_ms) for turn in turns.values()),
        "unequal_replies": sum(turn.unequal for turn in turns.values()),
        "largest_difference": max(max(turn.differences, default=0.0) for turn in turns.values()),
        **figures,
    }


def main(args: Args) -> None:
    """Prints the tables, then the JSON object."""
    if args.serve is not None:
        serve(args)
        return
    figures: dict[str, Any] = {"cores": os.cpu_count(), "speculate": args.speculate}
    if args.checkpoint.is_dir():
        observations = observe(args)
        print(f"{len(observations)} observations, prompts {sorted({o['prompt'] for o in observations})}")
        with servers(args, observations) as (ports, alone):
            most = SIZES[-1] * alone["policy_ms_1_rows"] / alone[f"policy_ms_{SIZES[-1]}_rows"]
            print(
                f"policy alone, ms: {alone}; {SIZES[-1]} rows in one call give {most:.2f} times the chunks per second"
            )
            figures |= {**alone, f"policy_ratio_{SIZES[-1]}_rows": most, **compare(args, ports, observations)}
    else:
        print(f"Load left out: no run in {args.checkpoint} (`make demo` makes one).")
    figures |= client_weight()
    print(json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in figures.items()}))


if __name__ == "__main__":
    main(tyro.cli(Args))
