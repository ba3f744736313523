"""Synthetic episodes: the hand goes from point to point, and the events are known."""

import numpy as np
import pytest

from inspire_fast.data.errors import DatasetError
from inspire_fast.dialogue.grounding.targets import libero_phrases
from inspire_fast.labeling.hindsight.assignment import HindsightOptions
from inspire_fast.labeling.hindsight.label import EpisodeReport, hindsight
from inspire_fast.labeling.hindsight.manipulations import Instruction, Manipulation, parse_instruction
from inspire_fast.robots.gripper import GripperSignal

SIGNAL = GripperSignal(position=(0, 1, 2), opening={3: 1.0})
FPS = 20.0
HOME, CAN, BIN, CUP, SHELF, PULLED = np.array(
    [[0, 0, 0.4], [0.3, 0.2, 0.1], [0.3, -0.3, 0.2], [0.1, 0.3, 0.1], [0.5, 0.0, 0.3], [0.3, 0.35, 0.1]]
)


def episode(*legs: tuple[np.ndarray, float]) -> np.ndarray:
    """States `[n, 4]`: for each leg 20 frames to the point with the old opening, then 10 there with the new one."""
    at, opening, rows = HOME, 1.0, []
    for point, then in legs:
        way = np.linspace(at, point, 21)[1:]
        rows += [[*p, opening] for p in way] + [[*point, then]] * 10
        at, opening = point, then
    return np.array(rows)


def label(instruction: str | Instruction, states: np.ndarray, **options: float):
    told = parse_instruction(instruction) if isinstance(instruction, str) else instruction
    return hindsight(told, states, fps=FPS, signal=SIGNAL, options=HindsightOptions(**options))


def carry_twice(thing: str) -> Instruction:
    """As from a file of meanings: the grammar refuses a thing that is put down twice."""
    return Instruction(
        text="tidy up",
        manipulations=(Manipulation(thing=thing, place="the bin"), Manipulation(thing=thing, place="the shelf")),
        phrases=(thing, "the bin", "the shelf"),
    )


def offsets(scenes: list, phrase: str) -> dict[int, np.ndarray]:
    return {
        frame: target.offset_m
        for frame, scene in enumerate(scenes)
        if scene is not None
        for target in scene.targets
        if target.phrase == phrase
    }


def held(scenes: list, phrase: str) -> list[int]:
    return [f for f, s in enumerate(scenes) if s and any(t.phrase == phrase and t.grasped for t in s.targets)]


PICK_AND_PLACE = episode((CAN, 0.5), (BIN, 1.0), (HOME, 1.0))  # closes at frame 20, opens at 50


def test_before_the_grasp_the_thing_is_where_the_fingers_will_close():
    scenes, report = label("put the can in the bin", PICK_AND_PLACE)
    can, place = offsets(scenes, "the can"), offsets(scenes, "the bin")
    for frame in (0, 5, 15):
        np.testing.assert_allclose(can[frame], CAN - PICK_AND_PLACE[frame, :3], atol=1e-6)
        np.testing.assert_allclose(place[frame], BIN - PICK_AND_PLACE[frame, :3], atol=1e-6)
    assert held(scenes, "the can") == list(range(20, 50))
    assert held(scenes, "the bin") == []
    np.testing.assert_allclose(can[89], BIN - HOME, atol=1e-6)  # it stays where it was let go
    assert report.inferred == {"the can": "gripped from frame 20", "the bin": "where the gripper opened"}
    assert report.refused == {}
    assert report.notes == ()


def test_too_near_to_have_a_direction_is_left_out():
    scenes, _ = label("put the can in the bin", PICK_AND_PLACE)
    can = offsets(scenes, "the can")
    assert all(np.linalg.norm(v) >= 0.02 for f, v in can.items() if f not in range(20, 50))
    assert 19 not in can
    assert [t.phrase for t in scenes[19].targets] == ["the bin"]
    everywhere, _ = label("put the can in the bin", PICK_AND_PLACE, near_m=0.0)
    assert 19 in offsets(everywhere, "the can")


def test_a_thing_gripped_again_is_one_thing():
    dropped, nearby = CAN + np.array([0.0, 0.0, 0.02]), CAN + np.array([0.03, 0.0, 0.0])
    states = episode((CAN, 0.5), (dropped, 1.0), (nearby, 0.5), (BIN, 1.0))
    scenes, report = label("put the can in the bin", states, near_m=0.0)
    assert held(scenes, "the can") == [*range(20, 50), *range(80, 110)]
    assert any("gripped again" in note for note in report.notes)
    np.testing.assert_allclose(offsets(scenes, "the can")[60], dropped - states[60, :3], atol=1e-6)
    assert report.inferred["the can"] == "gripped from frame 20, in 2 grips"


def test_a_thing_that_is_let_go_twice_on_the_way_is_one_thing():
    """Each grasp begins near where the one before it ended, and far from where the thing was gripped first."""
    near = np.array([0.03, 0.0, 0.0])
    dropped = episode((CAN, 0.5), (CUP, 1.0), (CUP + near, 0.5), (SHELF, 1.0), (SHELF + near, 0.5), (BIN, 1.0))
    scenes, report = label("put the can in the bin", dropped)
    assert held(scenes, "the can") == [*range(20, 50), *range(80, 110), *range(140, 170)]
    assert report.inferred["the can"] == "gripped from frame 20, in 3 grips"
    moved = episode((CAN, 0.5), (CUP, 1.0), (CUP + near / 2, 0.5), (BIN, 1.0), (BIN + near, 0.5), (SHELF, 1.0))
    scenes, report = label(carry_twice("the can"), moved)
    assert held(scenes, "the can") == [*range(20, 50), *range(80, 110), *range(140, 170)]
    assert report.refused == {}


def test_a_thing_lost_in_its_last_grip_was_never_put_anywhere():
    near = CAN + np.array([0.03, 0.0, 0.0])
    states = episode((CAN, 0.5), (CAN, 1.0), (near, 0.5), (BIN, 0.0), (HOME, 1.0))
    _, report = label("put the can in the bin", states)
    assert report.refused == {"the bin": "never released there: what the gripper held was lost on the way"}
    assert report.inferred["the can"] == "gripped from frame 20, in 2 grips"


def test_more_grasps_than_things_far_apart_are_refused():
    scenes, report = label("put the can in the bin", episode((CAN, 0.5), (BIN, 1.0), (CUP, 0.5), (SHELF, 1.0)))
    assert scenes == [None] * len(scenes)
    assert report.inferred == {}
    assert report.refused == dict.fromkeys(
        ("the can", "the bin"), "2 grasps for 1 things to grip, and none of them is a repeated one"
    )


def test_two_things_go_in_the_instructions_order():
    states = episode((CAN, 0.5), (BIN, 1.0), (CUP, 0.5), (SHELF, 1.0), (HOME, 1.0))
    scenes, report = label("put the can in the bin and put the cup on the shelf", states)
    assert held(scenes, "the can") == list(range(20, 50))
    assert held(scenes, "the cup") == list(range(80, 110))
    np.testing.assert_allclose(offsets(scenes, "the cup")[0], CUP - states[0, :3], atol=1e-6)
    np.testing.assert_allclose(offsets(scenes, "the shelf")[0], SHELF - states[0, :3], atol=1e-6)
    assert "things are assumed to be gripped in the instruction's order" in report.notes


def test_two_things_into_one_place_average_where_it_is():
    side = BIN + np.array([0.04, 0.0, 0.0])
    scenes, report = label(
        "put both the can and the cup in the bin",
        episode((CAN, 0.5), (BIN, 1.0), (CUP, 0.5), (side, 1.0)),
        in_word_order=True,
    )
    np.testing.assert_allclose(offsets(scenes, "the bin")[0], (BIN + side) / 2 - HOME - (CAN - HOME) / 20, atol=1e-6)
    assert report.inferred["the bin"] == "the mean of 2 places where the gripper opened"


def test_a_stack_that_is_carried_takes_what_lies_on_it_along():
    states = episode((CAN, 0.5), (CUP, 1.0), (CUP, 0.5), (SHELF, 1.0), (HOME, 1.0))
    scenes, _ = label("stack the can on the cup and place them in the tray", states)
    assert held(scenes, "the can") == list(range(20, 50))
    assert held(scenes, "the cup") == list(range(80, 110))
    np.testing.assert_allclose(offsets(scenes, "the can")[149], SHELF - HOME, atol=1e-6)
    np.testing.assert_allclose(offsets(scenes, "the tray")[0], SHELF - states[0, :3], atol=1e-6)
    rim = CUP + np.array([0.03, 0.0, -0.04])  # where the cup is gripped: the can stays as far from there as it was
    scenes, _ = label(
        "stack the can on the cup and place them in the tray",
        episode((CAN, 0.5), (CUP, 1.0), (rim, 0.5), (SHELF, 1.0), (HOME, 1.0)),
    )
    np.testing.assert_allclose(offsets(scenes, "the can")[149], SHELF + CUP - rim - HOME, atol=1e-6)


def test_a_thing_that_is_handled_twice_is_held_twice():
    states = episode((CAN, 0.5), (PULLED, 1.0), (HOME, 1.0), (PULLED, 0.5), (CAN, 1.0), (HOME, 1.0))
    scenes, report = label("open the drawer and then close it", states)
    assert held(scenes, "the drawer") == [*range(20, 50), *range(110, 140)]
    assert report.refused == {}
    np.testing.assert_allclose(offsets(scenes, "the drawer")[80], PULLED - states[80, :3], atol=1e-6)
    np.testing.assert_allclose(offsets(scenes, "the drawer")[179], CAN - HOME, atol=1e-6)
    states = episode((CAN, 0.5), (BIN, 1.0), (BIN, 0.5), (SHELF, 1.0))
    scenes, report = label(carry_twice("the can"), states)
    assert held(scenes, "the can") == [*range(20, 50), *range(80, 110)]
    assert set(report.inferred) == {"the can", "the bin", "the shelf"}


def test_a_drawer_that_is_also_a_place_is_held_while_it_is_pulled():
    states = episode((CAN, 0.5), (PULLED, 1.0), (CUP, 0.5), (SHELF, 1.0), (HOME, 1.0))
    scenes, _ = label("open the top drawer and put the bowl in it", states)
    assert held(scenes, "the top drawer") == list(range(20, 50))
    np.testing.assert_allclose(offsets(scenes, "the top drawer")[60], SHELF - states[60, :3], atol=1e-6)


def test_two_things_of_one_name_are_refused():
    far = episode((CAN, 0.5), (BIN, 1.0), (CUP, 0.5), (SHELF, 1.0))
    scenes, report = label(carry_twice("the mug"), far)
    assert set(report.inferred) == {"the bin", "the shelf"}
    assert "two things of one name" in report.refused["the mug"]
    assert held(scenes, "the mug") == []
    _, report = label("put the bowl on the bowl", PICK_AND_PLACE)
    assert "2 things one name" in report.refused["the bowl"]
    assert parse_instruction("put the mug on the mug rack and put the cup on the mug rack").doubts == {}
    assert not any(parse_instruction(text).doubts for text in libero_phrases())


@pytest.mark.parametrize(
    ("thing", "several"),
    [
        *((f"the {thing}", True) for thing in ("markers", "apples", "glasses", "tomato soup cans")),
        *((f"the {thing}", False) for thing in ("cup", "glass", "bus", "box of markers", "lens", "cactus")),
        *((f"the {thing}", False) for thing in ("red kitchen lens", "drinks can")),
    ],
)
def test_several_things_under_one_name_are_no_regrasp(thing: str, several: bool):
    near = BIN + np.array([0.05, 0.0, 0.0])
    _, report = label(f"put {thing} in the bin", episode((CAN, 0.5), (BIN, 1.0), (near, 0.5), (BIN, 1.0)))
    assert ("may be several things" in report.refused.get(thing, "")) == several
    assert set(label(f"put {thing} in the bin", PICK_AND_PLACE)[1].inferred) >= {thing}  # one grip, one position
    assert Manipulation(thing="the markers on the table").several
    assert Manipulation(thing="the two fish").several
    assert not Manipulation(thing="the cup with the markers").several


def test_a_list_has_no_order():
    text, states = "put both the can and the cup in the bin", episode((CAN, 0.5), (BIN, 1.0), (CUP, 0.5), (BIN, 1.0))
    scenes, report = label(text, states)
    assert set(report.inferred) == {"the bin"}  # whatever was first, both were let go there
    assert "--in-word-order" in report.refused["the can"]
    np.testing.assert_allclose(offsets(scenes, "the bin")[0], BIN - states[0, :3], atol=1e-6)
    assert held(label(text, states, in_word_order=True)[0], "the cup") == list(range(80, 110))


def test_never_grasped_is_refused():
    scenes, report = label("put the can in the bin", episode((CAN, 1.0), (BIN, 1.0)))
    assert set(scenes) == {None}
    assert report.refused == dict.fromkeys(("the can", "the bin"), "never grasped")


def test_a_grasp_of_nothing_is_none():
    states = episode((SHELF, 0.01), (SHELF, 1.0), (CAN, 0.5), (BIN, 1.0))
    scenes, report = label("put the can in the bin", states)
    assert held(scenes, "the can") == list(range(80, 110))
    assert "frame 20: the gripper closed on nothing" in report.notes


def test_never_released_leaves_the_place_open():
    states = episode((CAN, 0.5), (BIN, 0.5))
    scenes, report = label("put the can in the bin", states)
    assert report.inferred == {"the can": "gripped from frame 20"}
    (why,) = report.refused.values()
    assert report.refused.keys() == {"the bin"}
    assert why.startswith("never released: the episode ends with the gripper closed (at its goal? then use `--end-is")
    assert {t.phrase for s in scenes if s for t in s.targets} == {"the can"}
    assumed, _ = label("put the can in the bin", states, end_is_release=True)
    np.testing.assert_allclose(offsets(assumed, "the bin")[0], BIN - states[0, :3], atol=1e-6)


def test_a_handle_that_is_gripped_and_one_that_is_only_touched():
    scenes, report = label("open the drawer", episode((CAN, 0.5), (PULLED, 1.0)))
    assert held(scenes, "the drawer") == list(range(20, 50))
    pushed = episode((CAN, 1.0), (PULLED, 1.0))
    pushed[-1, 0] += 0.01  # the last frame is where the episode ends
    scenes, report = label("close the drawer", pushed)
    assert report.refused == {"the drawer": "touched without a grasp: no gripper event says where it is"}
    assert set(scenes) == {None}
    scenes, _ = label("close the drawer", pushed, end_is_contact=True)
    np.testing.assert_allclose(offsets(scenes, "the drawer")[0], pushed[-1, :3] - pushed[0, :3], atol=1e-6)


def test_a_knob_that_is_touched_before_something_is_carried():
    states = episode((SHELF, 1.0), (CAN, 0.5), (BIN, 1.0))
    _, report = label("turn on the stove and put the moka pot on it", states)
    assert set(report.inferred) == {"the moka pot", "the stove"}
    assert set(report.refused) == {"the stove button"}
    again = CAN + np.array([0.03, 0.0, 0.0])
    states = episode((CAN, 0.5), (CAN, 1.0), (again, 0.5), (again, 1.0), (CAN, 0.5), (BIN, 1.0))
    scenes, _ = label("turn on the stove and put the moka pot on it", states)  # all three grips are the pot's
    assert held(scenes, "the moka pot") == [*range(20, 50), *range(80, 110), *range(140, 170)]
    gripped = episode((CUP, 0.5), (CUP, 1.0), (CAN, 0.5), (BIN, 1.0))
    scenes, _ = label("turn on the stove and put the moka pot on it", gripped)
    assert held(scenes, "the stove button") == list(range(20, 50))
    assert held(scenes, "the moka pot") == list(range(80, 110))
    states = episode((SHELF, 1.0), (CAN, 0.5), (BIN, 1.0))
    _, report = label("put the bowl in the drawer and close it", states)
    assert set(report.inferred) == {"the bowl", "the drawer"}
    assert report.refused == {}


def test_the_end_is_a_contact_only_of_what_is_handled():
    _, report = label("put the can in the bin", episode((CAN, 1.0), (BIN, 1.0)), end_is_contact=True)
    assert report.refused == dict.fromkeys(("the can", "the bin"), "never grasped")


def test_commands_to_close_that_are_fewer_than_the_things():
    """Only too many commands are ambiguous; too few are told as what they are."""
    command = PICK_AND_PLACE.copy()
    command[:, 3] = command[:, 3] > 0.7
    _, report = label("put the can in the bin and put the cup on the shelf", command)
    assert report.grasps[0].commanded
    assert set(report.refused.values()) == {"1 grasps for 2 things to grip"}


def test_an_instruction_that_begins_later_has_its_own_frames():
    for first in (1, 12):
        told = parse_instruction("put the can in the bin")
        scenes, report = hindsight(told, PICK_AND_PLACE, fps=FPS, signal=SIGNAL, frames=slice(first, 90))
        assert len(scenes) == 90 - first
        assert held(scenes, "the can") == list(range(20 - first, 50 - first))
        assert report.inferred["the can"] == f"gripped from frame {20 - first}"


def test_a_source_and_what_nothing_is_known_about():
    scenes, report = label("take the lid off the pot and put it on the table", PICK_AND_PLACE)
    np.testing.assert_allclose(offsets(scenes, "the pot")[0], CAN - PICK_AND_PLACE[0, :3], atol=1e-6)
    _, report = label("wipe the table with the towel", PICK_AND_PLACE)
    assert report.refused == {"the table": "the gripper neither takes it nor lets go of anything there"}


def test_a_place_is_the_point_of_release_even_where_the_arm_shakes():
    rng = np.random.default_rng(0)
    states = PICK_AND_PLACE + np.concatenate([rng.normal(0, 2e-3, (90, 3)), rng.normal(0, 0.01, (90, 1))], axis=1)
    scenes, report = label("put the can in the bin", states)
    assert set(report.inferred) == {"the can", "the bin"}
    np.testing.assert_allclose(offsets(scenes, "the can")[0], CAN - states[0, :3], atol=0.02)
    np.testing.assert_allclose(offsets(scenes, "the bin")[0], BIN - states[0, :3], atol=0.02)


def test_nan_names_the_frame():
    states = PICK_AND_PLACE.copy()
    states[17, 2] = np.nan
    with pytest.raises(DatasetError, match="frame 17"):
        label("put the can in the bin", states)
    states = PICK_AND_PLACE.copy()
    states[44, 3] = np.inf
    with pytest.raises(DatasetError, match="frame 44"):
        label("put the can in the bin", states)


def test_a_report_lists_its_grasps():
    _, report = label("put the can in the bin", PICK_AND_PLACE)
    assert isinstance(report, EpisodeReport)
    assert [(grasp.start, grasp.stop) for grasp in report.grasps] == [(20, 50)]


def test_fingers_that_start_half_open_hold_nothing():
    states = PICK_AND_PLACE.copy()
    states[:8, 3] = np.linspace(0.52, 0.95, 8)
    scenes, report = label("put the can in the bin", states)
    assert [(grasp.start, grasp.stop) for grasp in report.grasps] == [(20, 50)]
    np.testing.assert_allclose(offsets(scenes, "the can")[0], CAN - states[0, :3], atol=1e-6)
    states[:12, 3] = 0.52  # at one level: something may be held, and it is no earlier grip of the can
    _, report = label("put the can in the bin", states, regrasp_m=10.0)
    assert [grasp.start for grasp in report.grasps] == [0, 20]
    assert set(report.refused) == {"the can", "the bin"}


@pytest.mark.parametrize("place", ["to the right of the plate", "next to the plate", "between the plate and the cup"])
def test_a_reference_is_not_where_the_gripper_opens(place: str):
    _, report = label(f"put the can {place}", PICK_AND_PLACE)
    assert set(report.inferred) == {"the can"}
    assert "reference" in report.refused["the plate"]


def test_a_lone_grip_may_be_the_drawers():
    _, report = label("open the top drawer and put the bowl inside", PICK_AND_PLACE)
    assert report.inferred == {}
    assert "whose they are is not known" in report.refused["the bowl"]
    both = episode((CAN, 0.5), (BIN, 1.0), (CUP, 0.5), (SHELF, 1.0))
    assert set(label("open the top drawer and put the bowl inside", both)[1].inferred) == {"the top drawer", "the bowl"}
