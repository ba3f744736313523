"""Preparation of a simulator's worker process."""

from __future__ import annotations

import multiprocessing
import os
import threading


def prepare_worker(workers: int) -> None:
    """Ends this process with its parent, and gives it its share of the cores for rendering.

    A killed parent cannot stop its workers, and each would keep its simulator's 2 GB forever. Mesa's renderer starts
    one thread per core in every process unless `LP_NUM_THREADS` is set.

    Args:
        workers: processes that share this machine.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True, name="parent-watch").start()
    os.environ.setdefault("LP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
