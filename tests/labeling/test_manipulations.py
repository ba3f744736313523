import json
from pathlib import Path

import pytest

from inspire_fast.data.errors import DatasetError
from inspire_fast.dialogue.grounding.targets import libero_phrases
from inspire_fast.labeling.hindsight.manipulations import Manipulation, load_overrides, parse_instruction


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("pick up the bowl and place it on the plate", [Manipulation(thing="the bowl", place="the plate")]),
        ("pick the can", [Manipulation(thing="the can")]),
        (
            "put both the soup and the sauce in the basket",
            [
                Manipulation(thing="the soup", place="the basket", listed=True),
                Manipulation(thing="the sauce", place="the basket", listed=True),
            ],
        ),
        (
            "stack the left bowl on the right bowl and place them in the tray",
            [
                Manipulation(thing="the left bowl", place="the right bowl"),
                Manipulation(thing="the right bowl", place="the tray", riding=("the left bowl",)),
            ],
        ),
        (
            "take the lid off the pot and put it on the table",
            [Manipulation(thing="the lid", source="the pot", place="the table")],
        ),
        (
            "take the lid out of the box and put it into the pan",
            [Manipulation(thing="the lid", source="the box", place="the pan")],
        ),
        (
            "open the drawer and put the bowl in it",
            [
                Manipulation(thing="the drawer", handled=True, pulled=True),
                Manipulation(thing="the bowl", place="the drawer"),
            ],
        ),
        ("push the cup into the box", [Manipulation(thing="the cup", place="the box", handled=True)]),
        ("turn on the stove", [Manipulation(thing="the stove", handled=True, touched=True)]),
    ],
)  # fmt: skip
def test_what_is_gripped_and_where_it_goes(instruction: str, expected: list[Manipulation]):
    assert list(parse_instruction(instruction).manipulations) == expected


def test_every_libero_instruction_has_a_plan_about_its_own_phrases():
    for instruction, phrases in libero_phrases().items():
        made = parse_instruction(instruction)
        assert made.phrases == phrases
        assert {phrase for m in made.manipulations for phrase in m.phrases} == set(phrases)


def test_overrides_say_what_the_grammar_cannot(tmp_path: Path):
    path = tmp_path / "meaning.json"
    path.write_text(
        json.dumps({"Tidy up!": [{"thing": "the can", "place": "the bin"}, {"thing": "the lid", "handled": True}]}),
        encoding="utf-8",
    )
    made = parse_instruction("tidy up", load_overrides(path))
    assert made.phrases == ("the can", "the bin", "the lid")
    assert made.manipulations[1].handled
    with pytest.raises(ValueError, match="Patterns tried"):
        parse_instruction("tidy up")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"a": [{"place": "x"}]}',
        '{"a": [{"thing": ""}]}',
        '{"a": [{"thing": "x", "to": "y"}]}',
        '{"a": "put it there"}',
        '{"a": []}',
        '{"a": [{"thing": "x", "riding": "y"}]}',
    ],
)
def test_damaged_overrides_name_the_file(tmp_path: Path, text: str):
    path = tmp_path / "meaning.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"meaning\.json"):
        load_overrides(path)
