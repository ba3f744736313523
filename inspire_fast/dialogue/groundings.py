"""How a script finds its targets in an instruction, and under which phrases their facts are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from inspire_fast.core.registry import Registry
from inspire_fast.core.types import SceneFacts
from inspire_fast.dialogue.grounding import ground
from inspire_fast.dialogue.released import ground_released, known_as


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """One way of asking.

    Attributes:
        ground: instruction -> phrases to ask about, in order; raises ValueError where nothing matches.
        known_as: instruction -> phrase asked about -> phrase of the stored facts; None where they are the same.
    """

    ground: Callable[[str], tuple[str, ...]]
    known_as: Callable[[str], Mapping[str, str]] | None = None

    def facts(self, instruction: str, stored: SceneFacts) -> SceneFacts:
        """The stored facts in this way's words and order; targets that the facts lack are left out."""
        if self.known_as is None:
            return stored
        by_phrase = {target.phrase: target for target in stored.targets}
        names = self.known_as(instruction)
        targets = [
            replace(by_phrase[names[asked]], phrase=asked)
            for asked in self.ground(instruction)
            if names[asked] in by_phrase
        ]
        return replace(stored, targets=tuple(targets))


GROUNDINGS: Registry[Grounding] = Registry(
    "grounding",
    {"instruction": Grounding(ground=ground), "released": Grounding(ground=ground_released, known_as=known_as)},
)
