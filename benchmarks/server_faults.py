"""Fault campaign against a policy server: `uv run python benchmarks/server_faults.py [--quick]`.

32 clients (ours, openpi's, and bare sockets) send at least 10,000 requests to a server in a process of its own, whose
policy echoes a number that is unique to each request, several per call. Among valid requests, in random order: wrong,
huge and malformed ones, clients that stall or leave, crashes of the policy, deadlines. Meanwhile the server is killed
(SIGKILL) and restarted, and the wall clocks of both sides jump by hours and days, four times a second.

Besides a table of the faults and how they were reported, it counts:
  crashes            the server ended by itself, or an exception reached its event loop, its threads or its handler
  crossed_replies    a reply to another request
  unreported_losses  neither a reply nor a typed error within the client's deadline
  unexpected         an outcome that the fault must not have (a loss is expected only after a kill of the server)
  rss_growth_mb      memory growth of the last server, from its warm-up to the end, without clients
The last line is one JSON object.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
import itertools
import json
import logging
import os
from pathlib import Path
import random
import resource
import socket
import sys
import tempfile
import threading
import time
from typing import Any
import warnings

import tyro

from benchmarks.faulty_requests import DEADLINE_S, HARMLESS, KINDS, LOST, NO_REPLY, Bare, frame_header, outcome_of
from benchmarks.faulty_server import JUMP_EVERY_S, Victim, Vitals, jump_clock

GRACE_S = 5.0  # of two busy cores


@dataclass(frozen=True, kw_only=True)
class Args:
    """Settings of the campaign.

    Attributes:
        quick: 12,000 requests instead of 60,000.
        requests: exactly so many.
        clients: at once.
        kills: how often the server is killed, in the first half.
        patience_s: how long connections that never finish what they began are watched; 0 leaves them out.
        seed: of the order of faults.
    """

    quick: bool = False
    requests: int | None = None
    clients: int = 32
    kills: int = 3
    patience_s: float = 60.0
    seed: int = 0


@dataclass
class Ledger:
    """Outcomes, counted by all threads."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    crossed: list[str] = field(default_factory=list)
    unreported: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, outcome: str, seconds: float, *, expected: bool) -> None:
        """Counts the outcome of one request."""
        with self._lock:
            self.outcomes[kind, outcome] += 1
            said = f"{kind}: {outcome} after {seconds:.1f} s"
            if outcome.startswith("crossed"):
                self.crossed.append(said)
            elif outcome == NO_REPLY or outcome.startswith("untyped") or seconds > DEADLINE_S + GRACE_S:
                self.unreported.append(said)
            elif not expected:
                self.unexpected.append(said)


class Campaign:
    """Clients against a server, up to a number of requests."""

    def __init__(self, victim: Victim, args: Args, requests: int) -> None:
        self._victim, self._args, self._requests = victim, args, requests
        self._values = itertools.count(0, 2)  # a pipelined request takes two
        self.ledger = Ledger()
        self.begun = 0

    def run(self) -> dict[str, Any]:
        """Runs the campaign; returns its results."""
        victim, start = self._victim, time.monotonic()
        victim.start()
        before = victim.vitals()
        workers = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(self._args.clients)]
        for worker in workers:
            worker.start()
        warm = self._disturb(workers)
        for worker in workers:
            worker.join(2 * DEADLINE_S)
        hung = sum(worker.is_alive() for worker in workers)
        self.ledger.unreported += ["a client hangs"] * hung
        time.sleep(3.0 if self._args.patience_s else 0.5)  # the server closes what it still has
        after = victim.vitals()
        seconds = time.monotonic() - start
        victim.stop()
        injected = sum(count for (kind, _), count in self.ledger.outcomes.items() if kind not in HARMLESS)
        return {
            "requests": sum(self.ledger.outcomes.values()),
            "clients": self._args.clients,
            "faults_injected": injected + victim.kills + int(seconds / JUMP_EVERY_S),
            "kills": victim.kills,
            "clock_jumps": int(seconds / JUMP_EVERY_S),
            "crashes": len(victim.crashes()),
            "crossed_replies": len(self.ledger.crossed),
            "unreported_losses": len(self.ledger.unreported),
            "unexpected": len(self.ledger.unexpected),
            "rss_growth_mb": round(after.rss_mb - warm.rss_mb, 2),
            "rss_mb": round(after.rss_mb, 1),
            "descriptors": [before.descriptors, after.descriptors],
            "threads": [before.threads, after.threads],
            "seconds": round(seconds, 1),
        }

    def _work(self, number: int) -> None:
        """One client: three in eight are ours, two openpi's, three bare."""
        make, faults = KINDS[(0, 2, 1, 0, 2, 1, 0, 2)[number % 8]]
        pick, client = random.Random(1000 * self._args.seed + number), None
        kinds, weights = list(faults), [fault.weight for fault in faults.values()]
        while (value := next(self._values)) < 2 * self._requests:
            self.begun = max(self.begun, value // 2)
            kind = pick.choices(kinds, weights)[0]
            start = time.monotonic()

            def do(_: Any, value: int, kind: str = kind) -> str:
                nonlocal client
                client = client or make(self._victim.port)
                return faults[kind].do(client, value + 1)

            outcome = outcome_of(do, None, value)
            down = self._victim.was_down(start) and outcome in (LOST, "timeout", "closed")
            expected = down or outcome == "overloaded" or outcome in faults[kind].expected
            self.ledger.note(kind, outcome, time.monotonic() - start, expected=expected)
            if outcome == "overloaded":
                time.sleep(0.03)  # as a client would
            while outcome == LOST and self._victim.is_away():  # else most requests would fall into a restart
                time.sleep(0.05)
        if client is not None:
            client.close()

    def _disturb(self, workers: list[threading.Thread]) -> Vitals:
        """Kills the server in the first half and watches unfinished connections in the second; vitals after warm-up."""
        victim, kills = self._victim, self._args.kills
        marks = [self._requests * (n + 1) // (2 * kills + 1) for n in range(kills)]
        warm_at = (marks[-1] if marks else 0) + self._requests // 10
        warm, watch = None, None
        while any(worker.is_alive() for worker in workers):
            time.sleep(0.02)
            victim.died()
            sys.stderr.write(f"\r{self.begun}/{self._requests} ")
            if marks and self.begun >= marks[0]:
                marks.pop(0)
                victim.kill()
                time.sleep(0.2)
                victim.start()
            elif not marks and watch is None and self._args.patience_s:
                watch = threading.Thread(target=self._watch, daemon=True)
                watch.start()
            if warm is None and self.begun >= warm_at:
                warm = victim.vitals()
        sys.stderr.write("\n")
        if watch is not None:
            watch.join()
        return warm or victim.vitals()

    def _watch(self) -> None:
        """Time that the server keeps connections that stop in the middle."""
        start, waiting = time.monotonic(), []
        for number in range(8):
            raw = socket.create_connection(("127.0.0.1", self._victim.port))
            kind = "silent connection" if number % 2 else "stalled handshake"
            raw.sendall(b"" if number % 2 else b"GET / HTTP/1.1\r\nHost: a\r\n")
            waiting.append((kind, raw))
        for _ in range(4):
            bare = Bare(self._victim.port)
            raw = bare.websocket().socket.dup()
            # The library behind must not answer the server's pings.
            bare.websocket().socket.detach()
            raw.sendall(frame_header(5000) + bytes(100))
            waiting.append(("stalled frame", raw))
        while waiting and time.monotonic() < start + self._args.patience_s:
            time.sleep(0.2)
            for kind, raw in list(waiting):
                if _is_closed(raw):
                    seconds = time.monotonic() - start
                    # Ten seconds of the handshake, or two of a ping's twenty: see `websockets`.
                    self.ledger.note(kind, f"closed after {5 * round(seconds / 5)} s", 0.0, expected=True)
                    raw.close()
                    waiting.remove((kind, raw))
        for kind, raw in waiting:
            self.ledger.note(kind, f"open after {self._args.patience_s:.0f} s", 0.0, expected=False)
            raw.close()


def _is_closed(raw: socket.socket) -> bool:
    raw.setblocking(False)
    try:
        while raw.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def run(args: Args, requests: int, folder: Path) -> tuple[dict[str, Any], Campaign, Victim]:
    """Runs one campaign; returns its results and their details."""
    logging.getLogger("inspire_fast.client").setLevel(logging.ERROR)  # it says that it waits for the server
    victim = Victim(folder)
    campaign = Campaign(victim, args, requests)
    try:
        return campaign.run(), campaign, victim
    finally:
        victim.clear_away()


def main(args: Args) -> None:
    """Prints the table, the failures, and the JSON object."""
    warnings.filterwarnings("ignore", "connect\\(\\) must be used as a context manager", DeprecationWarning)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    jump_clock()
    requests = args.requests or (12_000 if args.quick else 60_000)
    with tempfile.TemporaryDirectory() as folder:
        figures, campaign, victim = run(args, requests, Path(folder))
        kinds = Counter[str]()
        for (kind, _), count in campaign.ledger.outcomes.items():
            kinds[kind] += count
        print(f"{'kind':26} {'injected':>8}  how it ended")
        for kind, injected in kinds.most_common():
            ends = Counter({o: n for (k, o), n in campaign.ledger.outcomes.items() if k == kind}).most_common()
            print(f"{kind:26} {injected:8}  {', '.join(f'{outcome} {count}' for outcome, count in ends)}")
        print(f"{'server killed':26} {victim.kills:8}\n{'clock jumps':26} {figures['clock_jumps']:8}")
        ledger = campaign.ledger
        for name, found in (
            ("CRASH", victim.crashes()),
            ("CROSSED", ledger.crossed),
            ("UNREPORTED", ledger.unreported),
            ("UNEXPECTED", ledger.unexpected),
        ):
            for said in found[:20]:
                print(f"{name} {said}")
    print(json.dumps({**figures, "faults": {k: n for k, n in kinds.items() if k not in HARMLESS}}))
    sys.stdout.flush()
    os._exit(0)  # threads that hang are counted above, and must not hold up the end


if __name__ == "__main__":
    main(tyro.cli(Args))
