"""Batching of requests: equal to one by one, fair, bounded, and no error spreads to other requests."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
import contextlib
import threading
import time
from typing import Any

import numpy as np
import pytest

from inspire_fast.client import ErrorCode, ServerError
from inspire_fast.core.policy import BatchPolicy, RequestOptions
from inspire_fast.core.types import ActionChunk, Status
from inspire_fast.policy.testing import tiny_policy
from inspire_fast.robots import ROBOTS
from inspire_fast.serving.batcher import Batcher, DeadlineExceededError, OverloadedError, Request
from inspire_fast.serving.config import ServerConfig
from inspire_fast.serving.testing import PuppetPolicy
from tests.serving.conftest import wait_until


class PuppetBatches(PuppetPolicy):
    """Several puppets in one call; `poison` breaks the whole call, as a defect of a model would."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.prepared_in: set[str] = set()

    def prepare(self, observation: Mapping[str, Any], options: RequestOptions) -> Any:
        self.prepared_in.add(threading.current_thread().name)
        self._robot.canonical(observation)
        return observation, options

    def infer_prepared(self, prepared: Sequence[Any]) -> list[ActionChunk]:
        self.sizes.append(len(prepared))
        if any(observation["prompt"] == "poison" for observation, _ in prepared):
            raise ZeroDivisionError("a secret of the server")
        return [self.infer(observation, options) for observation, options in prepared]


BATCHED: dict[str, Any] = {"batch_sizes": (1, 2, 4), "max_wait_s": 0.2}


@pytest.fixture
def queue_up(serve, connect, observation, gate):
    """Starts requests that arrive in this order while an inference runs; returns their results."""

    def run(policy: PuppetBatches, prompts: Sequence[str]) -> list[Any]:
        server = serve(policy, **BATCHED)
        clients = [connect(server.port) for _ in range(len(prompts) + 1)]
        with ThreadPoolExecutor(len(clients)) as pool:
            first = pool.submit(clients[0].infer, observation(gate.prompt))
            gate.wait_until_reached()
            rest = []
            for number, (client, prompt) in enumerate(zip(clients[1:], prompts, strict=True)):
                rest.append(pool.submit(client.infer, observation(prompt, value=number + 1)))
                wait_until(lambda n=number: server._batcher.waiting == n + 1)
            gate.open()
            assert first.result().status is Status.OK
            return [future.exception() or future.result() for future in rest]

    return run


def test_what_waits_is_answered_in_calls_of_the_given_sizes(queue_up) -> None:
    policy = PuppetBatches()
    chunks = queue_up(policy, ["go"] * 7)
    assert [float(chunk.actions[0, 0]) for chunk in chunks] == [1, 2, 3, 4, 5, 6, 7]
    assert policy.sizes == [1, 4, 2, 1]
    assert "policy-inference" not in policy.prepared_in


def test_a_row_that_breaks_the_call_breaks_itself_only(queue_up, caplog) -> None:
    policy = PuppetBatches()
    good, bad, other, last = queue_up(policy, ["go", "poison", "go", "go"])
    assert [float(chunk.actions[0, 0]) for chunk in (good, other, last)] == [1, 3, 4]
    assert isinstance(bad, ServerError)
    assert bad.code == ErrorCode.INTERNAL_ERROR
    assert policy.sizes == [1, 4, 1, 1, 1, 1]
    assert "answered one by one" in caplog.text


def test_a_bad_observation_never_reaches_a_batch(serve, connect, observation) -> None:
    policy = PuppetBatches()
    client = connect(serve(policy, **BATCHED).port)
    with pytest.raises(ServerError, match="NaN") as refused:
        client.infer({**observation(), "observation/state": np.full(8, np.nan, np.float32)})
    assert refused.value.code == ErrorCode.INVALID_REQUEST
    assert policy.sizes == []


def test_a_single_client_never_waits_for_others(observation) -> None:
    async def ask() -> list[float]:
        batcher = Batcher(PuppetBatches(), ServerConfig(batch_sizes=(1, 8), max_wait_s=30))
        await batcher.start()
        request = Request(observation=observation(), options=RequestOptions(), client="alone")
        replies = [await asyncio.wait_for(batcher.submit(request), 10) for _ in range(3)]
        await batcher.close()
        return [reply.rows for reply in replies]

    assert asyncio.run(ask()) == [1, 1, 1]


def test_clients_that_ask_in_step_are_answered_together(observation) -> None:
    policy = PuppetBatches()

    async def robot(batcher: Batcher, name: str) -> None:
        for step in range(5):
            request = Request(observation=observation(value=step), options=RequestOptions(), client=name)
            reply = await batcher.submit(request)
            assert (reply.chunk.actions == step).all()

    async def run() -> None:
        batcher = Batcher(policy, ServerConfig(batch_sizes=(1, 2, 4), max_wait_s=10))
        await batcher.start()
        await asyncio.wait_for(asyncio.gather(*(robot(batcher, str(n)) for n in range(4))), 30)
        await batcher.close()

    asyncio.run(run())
    assert sum(policy.sizes) == 20
    assert policy.sizes.count(4) >= 4, policy.sizes


def test_a_request_says_itself_how_long_it_may_take(serve, connect, observation, gate) -> None:
    policy = PuppetPolicy()
    server = serve(policy)
    busy, hasty = connect(server.port), connect(server.port)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(busy.infer, observation(gate.prompt))
        gate.wait_until_reached()
        connection = hasty._connection
        with pytest.raises(ServerError, match=r"within the 0\.1 s") as late:
            hasty.infer(observation("too late"), RequestOptions(deadline_s=0.1))
        assert late.value.code == ErrorCode.DEADLINE_EXCEEDED
        gate.open()
        slow.result()
    assert hasty.infer(observation("go"), RequestOptions(deadline_s=30)).status is Status.OK
    assert hasty._connection is connection
    assert policy.prompts == [gate.prompt, "go"]


def test_clients_that_give_up_while_others_are_awaited_do_not_wear_it_out(observation) -> None:
    policy = PuppetBatches()

    async def run() -> Status:
        batcher = Batcher(policy, ServerConfig(batch_sizes=(1, 2), max_wait_s=0.002))
        await batcher.start()
        hasty = Request(observation=observation(), options=RequestOptions(deadline_s=1e-4), client="hasty")
        for number in range(1500):  # more than Python's frames go deep
            batcher._last_asked["another"] = time.perf_counter()
            with contextlib.suppress(DeadlineExceededError):
                await batcher.submit(hasty)
            if number % 2:
                await asyncio.sleep(0)
        patient = Request(observation=observation(), options=RequestOptions(), client="patient")
        reply = await asyncio.wait_for(batcher.submit(patient), 10)
        await batcher.close()
        return reply.chunk.status

    assert asyncio.run(run()) is Status.OK


@pytest.mark.parametrize("failure", ["too few", "exit"])
def test_whatever_a_policy_does_the_next_request_is_answered(observation, failure: str) -> None:
    class Broken(PuppetBatches):
        def infer_prepared(self, prepared: Sequence[Any]) -> list[ActionChunk]:
            if prepared[0][0]["prompt"] != "break":
                return super().infer_prepared(prepared)
            if failure == "exit":
                raise SystemExit(3)
            return []

    async def run() -> Status:
        batcher = Batcher(Broken(), ServerConfig(batch_sizes=(1, 2)))
        await batcher.start()
        with pytest.raises(RuntimeError, match=r"0 chunks for 1|tried to end the process"):
            await asyncio.wait_for(
                batcher.submit(Request(observation=observation("break"), options=RequestOptions())), 10
            )
        reply = await asyncio.wait_for(batcher.submit(Request(observation=observation(), options=RequestOptions())), 10)
        await batcher.close()
        return reply.chunk.status

    assert asyncio.run(run()) is Status.OK


def test_a_closed_batcher_takes_nothing_and_leaves_nobody_waiting(observation) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow(PuppetBatches):
        def prepare(self, observation: Mapping[str, Any], options: RequestOptions) -> Any:
            begun.set()
            go_on.wait(30)
            return super().prepare(observation, options)

    async def run() -> None:
        batcher = Batcher(Slow(), ServerConfig(batch_sizes=(1, 2)))
        await batcher.start()
        request = Request(observation=observation(), options=RequestOptions())
        preparing = asyncio.create_task(batcher.submit(request))
        await asyncio.to_thread(begun.wait, 30)
        await batcher.close()
        go_on.set()
        for late in (preparing, asyncio.create_task(batcher.submit(request))):
            with pytest.raises(OverloadedError, match="shutting down"):
                await asyncio.wait_for(late, 10)

    asyncio.run(run())


def test_nothing_is_kept_of_clients_that_left(serve, connect, observation) -> None:
    policy = PuppetBatches()
    server = serve(policy, **BATCHED)
    good, bad = [connect(server.port) for _ in range(3)], [connect(server.port) for _ in range(3)]
    for client in good:
        client.infer(observation())
    for client in bad:
        with pytest.raises(ServerError):
            client.infer({"prompt": "go"})
    assert len(server._batcher._last_asked) == 3  # of those whose observations were taken
    for client in (*good, *bad):
        client.close()
    wait_until(lambda: not server._batcher._last_asked)


@pytest.mark.parametrize("sizes", [(), (2, 4), (0, 1)])
def test_sizes_must_hold_one(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must hold 1|at least 1"):
        ServerConfig(batch_sizes=sizes)


def test_larger_sizes_need_a_policy_that_takes_them() -> None:
    with pytest.raises(ValueError, match="PuppetPolicy takes one observation at a time"):
        Batcher(PuppetPolicy(), ServerConfig(batch_sizes=(1, 2)))


@pytest.mark.slow
def test_a_network_answers_several_robots_as_it_answers_each(serve, connect) -> None:
    policy = tiny_policy()
    assert isinstance(policy, BatchPolicy)
    native = [
        ROBOTS["libero"].fake_native(seed) | {"prompt": prompt}
        for seed, prompt in enumerate(["open the drawer", "put the bowl on the plate", "turn on the stove", "go"])
    ]
    native[3]["prompt"] = "put the bowl on the stove"
    alone = [policy.infer(one) for one in native]
    server = serve(policy, batch_sizes=(1, 4), max_wait_s=20)
    clients = [connect(server.port, request_timeout_s=120.0) for _ in native]
    barrier = threading.Barrier(len(native))

    def talk(number: int) -> list[ActionChunk]:
        barrier.wait()
        return [clients[number].infer(native[number]) for _ in range(3)]

    with ThreadPoolExecutor(len(native)) as pool:
        together = list(pool.map(talk, range(len(native))))
    for chunks, reference in zip(together, alone, strict=True):
        for chunk in chunks:
            assert [a.answer for a in chunk.answers] == [a.answer for a in reference.answers]
            np.testing.assert_array_equal(chunk.actions, reference.actions)
