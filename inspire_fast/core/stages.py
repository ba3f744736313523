"""Stages of a long job: each is timed and runs once; a job that is started again continues."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
import contextlib
from dataclasses import dataclass
from functools import partial
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import time
from typing import Any

from inspire_fast.core.files import write_json

_say = partial(print, flush=True)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a job.

    Attributes:
        name: in the record of finished stages.
        title: for the progress line.
        run: does what is missing, so that it can be called again after an interruption.
    """

    name: str
    title: str
    run: Callable[[], None]


def run_stages(
    stages: Sequence[Stage],
    record: Path,
    *,
    after_each: Callable[[], None] | None = None,
    say: Callable[[str], None] = _say,
) -> dict[str, float]:
    """Runs the unfinished stages; the file `record` holds the finished ones, and seconds per stage over all attempts.

    SIGTERM ends the job like Ctrl-C; the time of an attempt that was killed with SIGKILL is lost.

    Args:
        stages: in order.
        record: file.
        after_each: is called after every stage that this call finished.
        say: shows a line of progress.
    """
    signal.signal(signal.SIGTERM, _end)
    stored = _stored(record)
    for number, stage in enumerate(stages, start=1):
        if stage.name in stored["done"]:
            say(f"[{number}/{len(stages)}] {stage.title}: done ({stored['seconds'][stage.name]:.0f} s)")
            continue
        say(f"[{number}/{len(stages)}] {stage.title}")
        start = time.perf_counter()
        try:
            stage.run()
            stored["done"].append(stage.name)
        except KeyboardInterrupt:
            say("\ninterrupted; start it again to continue")
            raise SystemExit(128 + signal.SIGINT) from None
        finally:
            spent = stored["seconds"].get(stage.name, 0.0) + time.perf_counter() - start
            stored["seconds"][stage.name] = round(spent, 2)
            write_json(record, stored)
        if after_each is not None:
            after_each()
    return stored["seconds"]


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def finished_stages(record: Path) -> dict[str, float]:
    """Seconds of every finished stage."""
    stored = _stored(record)
    return {name: stored["seconds"][name] for name in stored["done"]}


def _stored(record: Path) -> dict[str, Any]:
    return json.loads(record.read_text(encoding="utf-8")) if record.exists() else {"seconds": {}, "done": []}


def command(*arguments: object) -> None:
    """Runs a Python script of the checkout in another process.

    Raises:
        SystemExit: the script failed; has its exit status.
    """
    finished = subprocess.run([sys.executable, *map(str, arguments)], check=False)
    if finished.returncode:
        raise SystemExit(finished.returncode)


@contextlib.contextmanager
def background(*arguments: object, ready: Path, log: Path, timeout_s: float = 180.0) -> Generator[str]:
    """Runs a script while the block runs; yields the text of the file `ready` that the script writes when it is up.

    Raises:
        RuntimeError: the script ended, or was not ready in time; names its log.
    """
    for file in (ready, log):
        file.parent.mkdir(parents=True, exist_ok=True)
    ready.unlink(missing_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, *map(str, arguments)], stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + timeout_s
        while not (ready.exists() and ready.read_text(encoding="utf-8").strip()):
            if process.poll() is not None or time.monotonic() > deadline:
                state = "is not ready" if process.poll() is None else f"ended with status {process.returncode}"
                raise RuntimeError(f"{Path(str(arguments[0])).name} {state}; see {log}.")
            time.sleep(0.1)
        yield ready.read_text(encoding="utf-8").strip()
        if process.poll() is not None:
            raise RuntimeError(f"{Path(str(arguments[0])).name} ended too early; see {log}.")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
