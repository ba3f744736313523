"""A long job as stages: each is timed, runs once, and goes on where it stopped when the job is started again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

from inspire_fast.core.files import write_json


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a job. `run` must be safe to call again after an interruption: it does only what is missing."""

    name: str
    says: str
    run: Callable[[], None]


def run_stages(stages: list[Stage], record: Path) -> dict[str, float]:
    """Runs what is not yet done; `record` keeps what is finished, and seconds per stage over all attempts.

    SIGTERM ends the job as Ctrl-C does, its time written down; of an attempt that was killed outright the time is lost.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    stored = json.loads(record.read_text()) if record.exists() else {"seconds": {}, "done": []}
    for number, stage in enumerate(stages, start=1):
        if stage.name in stored["done"]:
            print(f"[{number}/{len(stages)}] {stage.says}: done ({stored['seconds'][stage.name]:.0f} s)", flush=True)
            continue
        print(f"[{number}/{len(stages)}] {stage.says}", flush=True)
        start = time.perf_counter()
        try:
            stage.run()
            stored["done"].append(stage.name)
        except KeyboardInterrupt:
            print("\ninterrupted; start it again and it goes on from here", flush=True)
            raise SystemExit(128 + signal.SIGINT) from None
        finally:
            spent = stored["seconds"].get(stage.name, 0.0) + time.perf_counter() - start
            stored["seconds"][stage.name] = round(spent, 2)
            write_json(record, stored)
    return stored["seconds"]


def command(*arguments: object) -> None:
    """Runs a Python script of the checkout in a process of its own.

    Raises:
        SystemExit: it failed; with its status.
    """
    finished = subprocess.run([sys.executable, *map(str, arguments)], check=False)
    if finished.returncode:
        raise SystemExit(finished.returncode)


@contextlib.contextmanager
def background(*arguments: object, ready: Path, log: Path, timeout_s: float = 180.0) -> Iterator[str]:
    """Runs a script while the block runs; yields the text of the file `ready` that it writes once it is up.

    Raises:
        RuntimeError: it ended, or was not ready in time; says where its log lies.
    """
    ready.unlink(missing_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, *map(str, arguments)], stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + timeout_s
        while not (ready.exists() and ready.read_text().strip()):
            if process.poll() is not None or time.monotonic() > deadline:
                state = "is not ready" if process.poll() is None else f"ended with status {process.returncode}"
                raise RuntimeError(f"{Path(str(arguments[0])).name} {state}; see {log}.")
            time.sleep(0.1)
        yield ready.read_text().strip()
        if process.poll() is not None:
            raise RuntimeError(f"{Path(str(arguments[0])).name} ended before its time; see {log}.")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
