import pytest

from inspire_fast.dialogue.grounding import ground


@pytest.mark.parametrize(
    ("instruction", "phrases"),
    [
        ("pick up the alphabet soup and place it in the basket", ("the alphabet soup", "the basket")),
        (
            "Pick up the black_bowl between the plate and the ramekin and place it on the plate.",
            ("the black bowl between the plate and the ramekin", "the plate"),
        ),
        (
            "put both the alphabet soup and the tomato sauce in the basket",
            ("the alphabet soup", "the tomato sauce", "the basket"),
        ),
        ("turn on the stove and put the moka pot on it", ("the stove", "the moka pot")),
        ("put the wine bottle on top of the cabinet", ("the wine bottle", "the cabinet")),
        ("put the black bowl at the front on the plate", ("the black bowl at the front", "the plate")),
        (
            "stack the left bowl on the right bowl and place them in the tray",
            ("the left bowl", "the right bowl", "the tray"),
        ),
        ("open the middle drawer of the cabinet", ("the middle drawer of the cabinet",)),
        ("open the top drawer and put the bowl inside", ("the top drawer", "the bowl")),
        ("push the plate to the front of the stove", ("the plate", "the stove")),
        (
            "put the white mug on the left plate and put the yellow and white mug on the right plate",
            ("the white mug", "the left plate", "the yellow and white mug", "the right plate"),
        ),
    ],
)
def test_phrases_in_the_instructions_order(instruction: str, phrases: tuple[str, ...]) -> None:
    assert ground(instruction) == phrases


@pytest.mark.parametrize("instruction", ["", "dance", "put it in it", "the bowl"])
def test_what_matches_nothing_says_what_was_tried(instruction: str) -> None:
    with pytest.raises(ValueError, match="Patterns tried: put/place/stack"):
        ground(instruction)
