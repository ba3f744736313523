"""Groundings by name: a script's way to find targets in an instruction, and the phrases of their stored facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
import functools

from inspire_fast.core.registry import Registry
from inspire_fast.core.types import SceneFacts
from inspire_fast.dialogue.grounding.released import ground_released, known_as
from inspire_fast.dialogue.grounding.targets import ground


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """A way to find targets, the same in training and at inference.

    Attributes:
        ground: instruction -> phrases to ask about, in order; raises ValueError if nothing matches.
        known_as: instruction -> phrase to ask about -> phrase of the stored facts; None if they are the same.
    """

    ground: Callable[[str], tuple[str, ...]]
    known_as: Callable[[str], Mapping[str, str]] | None = None

    def targets(self, instruction: str, stored: SceneFacts) -> tuple[str, ...]:
        """Phrases that a training sample asks about: the ones that inference would ask about, in its order.

        Labels that name none of them were made for an explicit list of targets: then the sample asks about these, and
        requests must name them too.
        """
        phrases = tuple(target.phrase for target in stored.targets)
        try:
            wanted = self.ground(instruction)
        except ValueError:
            return phrases
        names = self._names(instruction, wanted)
        return wanted if not phrases or any(names[w] in phrases for w in wanted) else phrases

    def facts(self, instruction: str, stored: SceneFacts) -> SceneFacts:
        """Stored facts in the words and order of `targets`, without targets that have no facts."""
        wanted = self.targets(instruction, stored)
        by_phrase = {target.phrase: target for target in stored.targets}
        names = self._names(instruction, wanted)
        known = [replace(by_phrase[names[w]], phrase=w) for w in wanted if names[w] in by_phrase]
        return replace(stored, targets=tuple(known))

    def _names(self, instruction: str, wanted: tuple[str, ...]) -> Mapping[str, str]:
        same = {phrase: phrase for phrase in wanted}
        return same if self.known_as is None else {**same, **self.known_as(instruction)}


GROUNDINGS: Registry[Grounding] = Registry(
    "grounding",
    {  # a dataset has few instructions and many samples
        "instruction": Grounding(ground=functools.lru_cache(maxsize=4096)(ground)),
        "released": Grounding(
            ground=functools.lru_cache(maxsize=4096)(ground_released),
            known_as=functools.lru_cache(maxsize=4096)(known_as),
        ),
    },
)
