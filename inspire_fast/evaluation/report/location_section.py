"""The section of locations in an evaluation's report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inspire_fast.core.html import Content, Markup, element, note, table
from inspire_fast.evaluation.records.records import EpisodeRecord
from inspire_fast.evaluation.report.locations import KINDS, Kind, Located, Measure, measures, training_means

# The records do not say how large the pictures are; measures in pixels are left out.
_FRACTIONS = (1, 1)
_IN_PIXELS = ("error_px", "end_error_px")


def located(records: Sequence[EpisodeRecord]) -> list[Located]:
    """All answers that are places and have a known truth."""
    found = []
    for record in records:
        for answer in (answer for call in record.calls for answer in call.answers):
            truth = None if answer.truth is None else answer.place(answer.truth)
            if truth is None:
                continue
            place = answer.place(answer.answer)
            kind: Kind = "trace" if truth.ndim == 2 else "box" if len(truth) == 4 else "point"
            fits = place is not None and place.shape == truth.shape
            found.append(
                Located(
                    kind=kind,
                    episode=record.key,
                    truth=truth,
                    answer=place if fits else None,
                    picture_hw=_FRACTIONS,
                    target=answer.target,
                )
            )
    return found


def locations_section(records: Sequence[EpisodeRecord]) -> list[Markup]:
    """Measures of points, boxes and traces; nothing without any."""
    rows = located(records)
    if not rows:
        return []
    body: list[list[Content]] = []
    for kind in KINDS:
        mine = [row for row in rows if row.kind == kind]
        found = measures(mine, training_means((row.target, row.truth) for row in mine))
        body += [_cells(kind, measure) for measure in found if measure.name not in _IN_PIXELS]
    return [
        element("h2", "Places in the picture"),
        note(
            "Distances are fractions of the picture. The baseline is one place for all things of a name: the mean of "
            "these episodes' truths, which no policy knows before. Intervals draw whole episodes."
        ),
        table(["", "measure", "policy", "95 % interval", "baseline", "answers"], body, numbers={2, 3, 4, 5}),
    ]


def _cells(kind: Kind, measure: Measure) -> list[Content]:
    interval = "one episode" if measure.low is None else f"{measure.low:.3f} .. {measure.high:.3f}"
    mean = measure.mean_baseline
    shown = f"{measure.value:.3f}"
    baseline = "unknown" if mean is None or np.isnan(mean) else f"{mean:.3f}"
    return [kind, measure.name.replace("_", " "), shown, interval, baseline, measure.answers]
