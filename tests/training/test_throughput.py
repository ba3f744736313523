"""Rates and waits, with a clock of our own."""

from collections.abc import Iterator

import numpy as np
import pytest

from inspire_fast.training.config import TrainConfig
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.reporting import throughput
from inspire_fast.training.reporting.flops import training_flops


class Clock:
    now = 100.0

    def perf_counter(self) -> float:
        return self.now


class Step:
    def __init__(self, *, ended: bool) -> None:
        self.ended = ended

    def is_ready(self) -> bool:
        return self.ended


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


def loader(clock: Clock, seconds: float) -> Iterator[dict[str, np.ndarray]]:
    valid = np.zeros((8, 50), bool)
    valid[:, :30] = True
    kind = np.zeros((8, 20), np.int8)
    kind[:, :12] = 2
    while True:
        clock.now += seconds
        yield {"valid": valid, "target_kind": kind}


def measuring(config: TrainConfig) -> throughput.Throughput:
    return throughput.Throughput(config.model, config.freeze, batch_size=config.batch_size)


def test_rates_are_of_training_alone(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throughput, "peak_flops", lambda _: 1e12)
    config = load_config("debug")
    meter, batches = measuring(config), loader(clock, 0.25)
    meter.next(batches, None)
    with meter.paused(None):  # a checkpoint, before there was a report
        pass
    clock.now += 50.0
    assert meter.metrics() == {}  # nothing has begun: the first steps compile
    meter.begin()
    for _ in range(4):
        meter.next(batches, Step(ended=False))
        clock.now += 0.75
    with meter.paused(None):
        clock.now += 1000.0  # a checkpoint
    metrics = meter.metrics()
    rows, tokens = 4 * config.batch_size / 4.0, config.model.image_tokens + 30
    flops = rows * training_flops(config.model, config.freeze, text_tokens=30, supervised=12)
    assert metrics == pytest.approx(
        {
            "samples_per_s": rows,
            "tokens_per_s": rows * tokens,
            "tflops_per_device": flops / 1e12,
            "mfu": flops / 1e12,
            "data_wait_fraction": 0.0,
        }
    )
    assert set(metrics) == set(throughput.THROUGHPUT)


def test_a_wait_counts_when_the_device_had_ended(clock: Clock) -> None:
    meter, batches = measuring(load_config("debug")), loader(clock, 0.2)
    meter.begin()
    for ended in (True, False, False, True):
        meter.next(batches, Step(ended=ended))
        clock.now += 0.8
    metrics = meter.metrics()
    assert metrics["data_wait_fraction"] == pytest.approx(0.1)
    assert "mfu" not in metrics  # nobody knows this processor's peak
