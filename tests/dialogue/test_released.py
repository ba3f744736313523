from dataclasses import replace

import numpy as np
import pytest

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.dialogue.grounding.released import ground_released, known_as, matches, released_phrases
from inspire_fast.dialogue.grounding.targets import libero_phrases


@pytest.mark.parametrize(
    ("instruction", "phrases"),
    [
        # the list's order, not the instruction's
        ("turn on the stove and put the moka pot on it", ("the moka pot", "the stove button", "the stove")),
        # what is found is cut out: "the cream cheese" leaves " box"
        (
            "put both the cream cheese box and the butter in the basket",
            ("the butter", "the cream cheese", "the basket"),
        ),
        # "the wine_bottle" of the list never occurs
        ("put the wine bottle on top of the cabinet", ("top of the cabinet",)),
        ("put the wine bottle on the rack", ("the rack",)),
        # rewritten, the release's misspelling included
        (
            "pick up the book on the right and place it under the cabinet shelf",
            ("the book on the right", "bottom of the cabinet self"),
        ),
        ("pick up the book on the left and place it on top of the shelf", ("the book on the left", "top of the shelf")),
        ("turn off the stove", ("the stove button",)),
        ("put both moka pots on the stove", ("the left moka pot", "the right moka pot", "the stove")),
        # cut out everywhere: "the plate" is gone from "on the plate", too
        (
            "pick up the black bowl next to the plate and place it on the plate",
            ("the black bowl next to the plate", "the plate"),
        ),
    ],
)  # fmt: skip
def test_what_the_release_asks_about(instruction: str, phrases: tuple[str, ...]) -> None:
    assert ground_released(instruction) == phrases


def test_every_libero_instruction_gets_as_many_questions_as_the_release_counts() -> None:
    counts = [len(ground_released(instruction)) for instruction in libero_phrases()]
    assert (min(counts), max(counts)) == (1, 4)


def test_every_released_phrase_of_libero_finds_the_facts_stored_under_ours() -> None:
    for instruction, phrases in libero_phrases().items():
        known = known_as(instruction)
        assert tuple(known) == ground_released(instruction)
        assert set(known.values()) <= set(phrases)
        assert len(set(known.values())) == len(known)
    assert known_as("put the wine bottle on top of the cabinet") == {"top of the cabinet": "the cabinet"}
    assert known_as("turn on the stove") == {"the stove button": "the stove"}
    assert known_as("turn on the stove and put the wine bottle on top of the cabinet") == {
        "top of the cabinet": "the cabinet",
        "the stove button": "the stove",
    }
    assert known_as("turn on the stove and put the moka pot on it") == {
        "the moka pot": "the moka pot",
        "the stove button": "the stove button",
        "the stove": "the stove",
    }
    assert known_as("pick up the book and place it in the back compartment of the caddy") == {
        "the book": "the book",
        "the caddy": "the back compartment of the caddy",
    }


def test_the_list_keeps_its_order_and_its_bodies() -> None:
    entries = released_phrases()
    assert entries[0].phrase == "the black bowl between the plate and the ramekin"
    assert entries[-1].phrase == "on it"
    assert entries[-1].bodies == ("flat_stove_1_burner",)
    assert len({entry.phrase for entry in entries}) == len(entries)
    assert [entry.phrase for entry in matches("turn on the stove")] == ["turn on the stove"]


def test_an_instruction_that_the_list_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="released list"):
        ground_released("put the carrot on the cutting board")
    with pytest.raises(ValueError, match="'the plate' of InSpire's released list means 0 of the targets"):
        known_as("pick up the butter, not the plate")


def test_spelling_makes_no_difference() -> None:
    plain = "turn on the stove and put the moka pot on it"
    assert ground_released(f" {plain.capitalize().replace(' ', '_')}. ") == ground_released(plain)
    both = "put both moka pots on the stove"
    assert ground_released(f"{both}.") == ground_released(both)


def test_facts_are_found_by_our_phrase_and_asked_about_by_theirs() -> None:
    def about(phrase: str) -> TargetFacts:
        return TargetFacts(phrase=phrase, offset_m=np.zeros(3, np.float32), grasped=False)

    stored = SceneFacts(targets=tuple(about(phrase) for phrase in ("the wine bottle", "the cabinet")))
    instruction = "put the wine bottle on top of the cabinet"
    for name, phrases in (("released", ("top of the cabinet",)), ("instruction", ("the wine bottle", "the cabinet"))):
        assert GROUNDINGS[name].targets(instruction, stored) == phrases
        assert tuple(target.phrase for target in GROUNDINGS[name].facts(instruction, stored).targets) == phrases
    explicit = replace(stored, targets=(about("the lamp"),))  # of labels for a list of targets that somebody gave
    for said in (instruction, "dance"):
        assert GROUNDINGS["instruction"].facts(said, explicit).targets == explicit.targets
