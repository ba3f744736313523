"""What every place that training figures and pictures can go to is able to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
import io

import numpy as np
from PIL import Image


class Tracker(ABC):
    """Takes the figures, pictures and texts of one run. Steps never go down.

    A tracker raises whatever its library raises; `tracking.Tracking` is what keeps a run alive when one does.
    """

    @abstractmethod
    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """Takes the figures of a line of `metrics.jsonl`, by name."""

    @abstractmethod
    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Takes a picture, uint8 `[h, w, 3]`."""

    @abstractmethod
    def text(self, step: int, name: str, markdown: str) -> None:
        """Takes a text."""

    @abstractmethod
    def close(self, *, failed: bool = False) -> None:
        """Writes what is left; `failed` says that the run ended before its last step."""


def png(image: np.ndarray) -> bytes:
    """A picture, uint8 `[h, w, 3]`, as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="png")
    return file.getvalue()
