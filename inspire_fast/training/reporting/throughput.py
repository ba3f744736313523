"""How fast a run is, and whether it waits for its data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import time
from typing import Any

import jax
import numpy as np

from inspire_fast.training.config import TrainConfig
from inspire_fast.training.reporting.flops import peak_flops, training_flops

FIGURES = ("samples_per_s", "tokens_per_s", "tflops_per_device", "mfu", "data_wait_fraction")


class Throughput:
    """Counts what the steps since the last line of the log took, without evaluation, pictures and checkpoints.

    Figures, over all processes:
        samples_per_s, tokens_per_s: tokens are what the language model reads, pictures included, padding not.
        tflops_per_device: 10^12 operations per second that the model needs (see `training.reporting.flops`).
        mfu: the same as a share of the device's peak; only where that is known.
        data_wait_fraction: of the time, what the devices had nothing to do because the next batch was not there. A wait counts when the
            step before it had ended by the time the batch came, from where the host began to wait: an upper bound.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._peak = peak_flops(jax.local_devices()[0])
        self._begun = False
        self._since: float | None = None
        self._seconds = self._waited = self._tokens = self._flops = 0.0
        self._steps = 0

    def next(self, loader: Iterator[Mapping[str, np.ndarray]], last: Any) -> Mapping[str, np.ndarray]:
        """The loader's next batch.

        Args:
            loader: gives this process's rows.
            last: a result of the step before, a `jax.Array`, or None.
        """
        start = time.perf_counter()
        arrays = next(loader)
        if last is None or last.is_ready():
            self._waited += time.perf_counter() - start
        model = self._config.model
        text, supervised = float(arrays["valid"].sum(1).mean()), float((arrays["target_kind"] > 0).sum(1).mean())
        self._steps += 1
        self._tokens += self._config.batch_size * (model.image_tokens + text)
        self._flops += self._config.batch_size * training_flops(
            model, self._config.freeze, text_tokens=text, supervised=supervised
        )
        return arrays

    def begin(self) -> None:
        """From here on time counts; what came before (compilation, evaluation) does not."""
        self._begun, self._since = True, time.perf_counter()
        self._waited = self._tokens = self._flops = 0.0
        self._seconds, self._steps = 0.0, 0

    def pause(self) -> None:
        """Something that is no training follows. To be called when the steps so far have ended, not merely been handed over."""
        if self._since is not None:
            self._seconds += time.perf_counter() - self._since
            self._since = None

    def go_on(self) -> None:
        """Training follows again; before `begin` nothing is counted all the same."""
        if self._begun:
            self._since = time.perf_counter()

    def figures(self) -> dict[str, float]:
        """Since `begin`; nothing where no step was taken since."""
        self.pause()
        if not self._steps or not self._seconds:
            return {}
        rate = self._flops / self._seconds / jax.device_count()
        figures = {
            "samples_per_s": self._steps * self._config.batch_size / self._seconds,
            "tokens_per_s": self._tokens / self._seconds,
            "tflops_per_device": rate / 1e12,
            "data_wait_fraction": self._waited / self._seconds,
        }
        return figures | ({"mfu": rate / self._peak} if self._peak else {})
