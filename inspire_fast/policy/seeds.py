"""Seeds of the noise with which actions are drawn: one per row and call."""

from __future__ import annotations

import itertools
import secrets

from inspire_fast.core.policy import RequestOptions

SEEDS = 2**32


class NoiseSeeds:
    """A request's own seed; for a request without one, the next of a count that begins somewhere new in every process.

    One count for all sessions: no two rows share their noise, whatever sessions there are and whichever of them are
    forgotten, until the seeds have come round (2^32 rows).
    """

    def __init__(self) -> None:
        self._unused = itertools.count(secrets.randbelow(SEEDS))

    def of(self, options: RequestOptions) -> int:
        """The seed for one row of one call, 0 .. 2^32 - 1."""
        return next(self._unused) % SEEDS if options.seed is None else options.seed
