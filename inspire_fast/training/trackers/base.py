"""Interface of an experiment tracker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np


class Tracker(ABC):
    """Receives the metrics, images and texts of one run. Steps never decrease.

    A tracker raises whatever its library raises; `trackers.open.Tracking` keeps the run alive then.
    """

    @abstractmethod
    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """Shows the metrics of a line of `metrics.jsonl`, by name."""

    @abstractmethod
    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Shows an image, uint8 `[h, w, 3]`."""

    @abstractmethod
    def text(self, step: int, name: str, markdown: str) -> None:
        """Shows a text."""

    @abstractmethod
    def close(self, *, failed: bool = False) -> None:
        """Writes the rest; `failed` means that the run ended before its last step."""
