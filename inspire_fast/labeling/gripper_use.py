"""Use of a gripper over a dataset: how far it opens and closes, and how episodes begin and end.

One episode cannot tell a signal of the wrong sign, a fist from a grasp, or a command from a measurement. All episodes
together can.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from inspire_fast.data.errors import DatasetError
from inspire_fast.robots.gripper import GripperSignal

_FIST_BELOW = (
    0.2  # of the widest opening: a closed gripper reads less, rubber fingertips and a zero that is off included
)
_NEAR = 0.25  # of the range of openings: this close to the narrowest is closed
_BEGINNING_S = 0.5
_BETWEEN = 0.01  # of the range of an episode's openings, at either end


@dataclass(frozen=True, kw_only=True)
class GripperUse:
    """Openings of a gripper over a dataset, in the gripper's own unit.

    Attributes:
        episodes: how many were looked at.
        narrowest, widest: openings that are kept for `min_s` in some episode, without one episode in twenty that is
            unlike all others.
        begin_closed: episodes that begin with the gripper at rest, about as far closed as it ever is.
        end_closed: episodes that end so.
        two_valued: the openings are a command, and not measured: wide or shut and nothing between.
    """

    episodes: int
    narrowest: float
    widest: float
    begin_closed: int
    end_closed: int
    two_valued: bool

    @classmethod
    def of(cls, episodes: Iterable[np.ndarray], fps: float, signal: GripperSignal) -> GripperUse:
        """Looks at the openings `[n]` of all episodes, one after the other.

        Raises:
            DatasetError: no episode, or the gripper never opens, so that there is no measure of closed.
        """
        kept, begin = max(1, round(signal.min_s * fps)), max(2, round(_BEGINNING_S * fps))
        rows = np.array([_summary(openings, kept, begin) for openings in episodes if len(openings)])
        if not len(rows):
            raise DatasetError("No episode has openings of the gripper that can be read.")
        low, high, between, frames, first, spread, last = rows.T
        narrowest = float(np.quantile(low, 0.05, method="lower"))
        widest = float(np.quantile(high, 0.95, method="higher"))
        if widest <= 0:
            raise DatasetError(
                f"The gripper's opening is never positive (largest: {widest}); check the signal's weights."
            )
        near = narrowest + _NEAR * (widest - narrowest)
        at_rest = (spread <= signal.level_tolerance * widest) & (first < signal.closed_below * widest)
        return cls(
            episodes=len(rows),
            narrowest=narrowest,
            widest=widest,
            begin_closed=int(np.sum(at_rest & (first <= near))),
            end_closed=int(np.sum((last <= near) & (last < signal.closed_below * widest))),
            two_valued=narrowest < signal.empty_below * widest and between.sum() < 0.005 * frames.sum(),
        )

    def doubt(self, *, begins_closed: bool = False) -> str:
        """The reason why no opening of this dataset can be believed; empty if there is none.

        Args:
            begins_closed: the user says that episodes begin with the gripper closed.
        """
        if 2 * self.begin_closed > self.episodes and not begins_closed:
            seen = f"{self.end_closed} end so; openings from {self.narrowest:.4g} to {self.widest:.4g}"
            return (
                f"{self.begin_closed} of {self.episodes} episodes begin with the gripper closed ({seen}): turn the "
                "sign of the signal's `opening`, or say that episodes do begin like this (`--begins-closed`)"
            )
        return ""

    def fist(self, signal: GripperSignal) -> float:
        """Level, as a fraction of the widest opening, up to which a closed gripper may be closed on nothing."""
        narrowest = self.narrowest / self.widest
        return max(signal.empty_below, narrowest + signal.level_tolerance if narrowest < _FIST_BELOW else 0.0)


def _summary(openings: np.ndarray, kept: int, begin: int) -> tuple[float, ...]:
    """Low, high, frames between them, frames; level and spread at the beginning; the last opening."""
    ordered, count = np.sort(openings), len(openings)
    low, high = ordered[min(kept, count) - 1], ordered[-min(kept, count)]
    margin = _BETWEEN * (ordered[-1] - ordered[0])
    between = np.sum((openings > ordered[0] + margin) & (openings < ordered[-1] - margin)) if margin > 0 else 0
    head = openings[:begin]
    return (
        float(low),
        float(high),
        int(between),
        count,
        float(np.median(head)),
        float(np.ptp(head)),
        float(openings[-1]),
    )
