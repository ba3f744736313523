"""Check that a run whose script asks has something to ask about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
import logging

from inspire_fast.data.chunks import ChunkSource
from inspire_fast.data.mixture import Part, spread
from inspire_fast.data.training_transform import TrainingTransform
from inspire_fast.training.datasets.lengths import transform_of, without_images

logger = logging.getLogger(__name__)
_FRAMES = 64  # of each part, evenly spread


def require_askable(parts: Sequence[Part[ChunkSource]], transform: TrainingTransform) -> None:
    """Refuses a run whose script asks questions that the facts of no frame answer; warns of parts of which that is so.

    With `unlabelled` set to leave questions out, such a run would learn actions alone.

    Args:
        parts: the run's datasets, with transforms of their own where they have them.
        transform: of the other parts.

    Raises:
        ValueError: says what the first frame lacks.
    """
    asking = [(part, transform_of(part, transform)) for part in parts if len(part.source)]
    asking = [(part, own) for part, own in asking if own.script.questions]
    silent = [(part, own) for part, own in asking if not _is_asked(part, own)]
    for part, _ in silent if len(silent) < len(asking) else ():
        logger.warning("%s: not one of %d frames looked at is asked a question.", part.name, len(_looked_at(part)))
    if not asking or len(silent) < len(asking):
        return
    part, own = silent[0]
    try:
        replace(own, unlabelled="refuse").facts_of(without_images(part.source, 0))
        why = ""
    except ValueError as error:
        why = f" The first one: {str(error).partition('. ')[0]}."
    looked_at = len(_looked_at(part))
    raise ValueError(
        f"Script {own.script.name!r} asks questions, and of {looked_at} frames looked at in {part.name} none has the "
        f"facts to answer them: with data.unlabelled={own.unlabelled!r} this run would learn actions alone. "
        f"`labels/report.json` of a labelled dataset lists what was left out and why.{why} Label more of it (by "
        "hindsight: `--end-is-release` where episodes end at their goal, gripper closed), ask only what is known "
        "(`--data.unlabelled ask_known`), or nothing (`--dialogue.script pi0_fast`)."
    )


def _is_asked(part: Part[ChunkSource], transform: TrainingTransform) -> bool:
    frames = (without_images(part.source, frame) for frame in _looked_at(part))
    return any(transform.facts_of(frame) is not None for frame in frames)


def _looked_at(part: Part[ChunkSource]) -> dict[int, None]:
    """Numbers of the frames, each once: short datasets have fewer than `_FRAMES`."""
    return dict.fromkeys(spread(part.source, _FRAMES))
