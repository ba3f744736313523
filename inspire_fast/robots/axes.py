"""Words for the signed axes of a frame."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Words for the signed axes of the frame of `TargetFacts.offset_m`, each `(negative, positive)`.

    LIBERO (robosuite world): x = (back, front), y = (left, right), z = (down, up). InSpire's real arm:
    x = (left, right), y = (front, back), z = (down, up).
    """

    x: tuple[str, str]
    y: tuple[str, str]
    z: tuple[str, str]

    def __post_init__(self) -> None:
        words = [*self.x, *self.y, *self.z]
        if len(set(words)) != 6:
            raise ValueError(f"Axes need six different words; got {words}.")

    def word(self, axis: int, *, positive: bool) -> str:
        """The word for one signed axis, e.g. `word(1, positive=True) == "right"` on LIBERO."""
        return (self.x, self.y, self.z)[axis][int(positive)]

    @property
    def words(self) -> tuple[str, ...]:
        """All six: in the paper's order if they are the paper's words, else x, y, z."""
        paper = ("right", "left", "up", "down", "front", "back")
        words = (*self.x, *self.y, *self.z)
        return paper if set(words) == set(paper) else words
