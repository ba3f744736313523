"""Throughput of a run, and the time that it waits for its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import time
from typing import Any

import jax
import numpy as np

from inspire_fast.models.config import ModelConfig
from inspire_fast.models.freeze import FreezeConfig
from inspire_fast.training.reporting.flops import peak_flops, training_flops

THROUGHPUT = ("samples_per_s", "tokens_per_s", "tflops_per_device", "mfu", "data_wait_fraction")


class Throughput:
    """Measures the steps since the last line of the log, without evaluation, images and checkpoints.

    Metrics, over all processes:
        samples_per_s, tokens_per_s: tokens are what the language model reads, image tokens included, padding not.
        tflops_per_device: 10^12 operations per second that the model needs (see `training.reporting.flops`).
        mfu: the same as a share of the device's peak; only where that is known.
        data_wait_fraction: share of the time in which the devices were idle because the next batch was not ready. A
            wait counts if the previous step had ended when the batch came, from the moment the host began to wait: an
            upper bound.
    """

    def __init__(self, model: ModelConfig, freeze: FreezeConfig, *, batch_size: int) -> None:
        self._model, self._freeze, self._batch_size = model, freeze, batch_size
        self._peak = peak_flops(jax.local_devices()[0])
        self._begun = False
        self._since: float | None = None
        self._seconds = self._waited = self._tokens = self._flops = 0.0
        self._steps = 0

    def next(self, loader: Iterator[Mapping[str, np.ndarray]], last: Any) -> Mapping[str, np.ndarray]:
        """The loader's next batch.

        Args:
            loader: gives this process's rows.
            last: a result of the previous step, a `jax.Array`, or None.
        """
        start = time.perf_counter()
        arrays = next(loader)
        if last is None or last.is_ready():
            self._waited += time.perf_counter() - start
        text, supervised = float(arrays["valid"].sum(1).mean()), float((arrays["target_kind"] > 0).sum(1).mean())
        self._steps += 1
        self._tokens += self._batch_size * (self._model.image_tokens + text)
        flops = training_flops(self._model, self._freeze, text_tokens=text, supervised=supervised)
        self._flops += self._batch_size * flops
        return arrays

    def begin(self) -> None:
        """Starts counting anew; earlier time (compilation, evaluation) does not count."""
        self._begun, self._since = True, time.perf_counter()
        self._waited = self._tokens = self._flops = 0.0
        self._seconds, self._steps = 0.0, 0

    @contextlib.contextmanager
    def paused(self, state: Any) -> Iterator[None]:
        """Time inside does not count; first waits until `state` is computed, not merely dispatched."""
        jax.block_until_ready(state)
        self._pause()
        yield
        if self._begun:
            self._since = time.perf_counter()

    def metrics(self) -> dict[str, float]:
        """Metrics since `begin`; empty if no step was taken since."""
        self._pause()
        if not self._steps or not self._seconds:
            return {}
        rate = self._flops / self._seconds / jax.device_count()
        metrics = {
            "samples_per_s": self._steps * self._batch_size / self._seconds,
            "tokens_per_s": self._tokens / self._seconds,
            "tflops_per_device": rate / 1e12,
            "data_wait_fraction": self._waited / self._seconds,
        }
        return metrics | ({"mfu": rate / self._peak} if self._peak else {})

    def _pause(self) -> None:
        if self._since is not None:
            self._seconds += time.perf_counter() - self._since
            self._since = None
