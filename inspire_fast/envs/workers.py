"""Worker processes with simulators: their preparation, and jobs divided among them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
import contextlib
import multiprocessing
import os
import threading
from typing import TypeVar

import numpy as np

J = TypeVar("J")
R = TypeVar("R")


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


def run_in_blocks(function: Callable[[J], R], jobs: Sequence[J], workers: int) -> Generator[tuple[J, Future[R]]]:
    """Runs jobs in new processes (not forks) and yields each with its finished future, in order of completion.

    Neighbours in the list go to the same worker, because they share a scene. Closing the iterator cancels the rest.

    Args:
        function: picklable.
        jobs: arguments of the function, picklable.
        workers: processes, each with a simulator of up to 2 GB.

    Raises:
        ValueError: `workers` is less than 1.
    """
    if workers < 1:
        raise ValueError(f"workers must be >= 1; got {workers}.")
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        futures: dict[Future[R], J] = {}
        for block in np.array_split(np.arange(len(jobs)), workers):
            if not len(block):
                continue
            pool = ProcessPoolExecutor(
                max_workers=1, mp_context=context, initializer=prepare_worker, initargs=(workers,)
            )
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            futures.update({pool.submit(function, jobs[i]): jobs[i] for i in block})
        for future in as_completed(futures):
            yield futures[future], future
