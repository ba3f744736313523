"""The truth drawn into the picture: where, in which colours, and never into the simulator's own arrays."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.evaluation.run.evaluate import settings
from inspire_fast.evaluation.run.runner import Job, Runner
from inspire_fast.evaluation.run.visual_prompt import draw_marks, with_marks
from inspire_fast.robots import ROBOTS
from inspire_fast.serving.testing import PuppetPolicy
from tests.evaluation.faked import PROTOCOL, Faked

LIBERO = ROBOTS["libero"]
BOWL = TargetFacts(phrase="the bowl", offset_m=None, grasped=False, point_px=(0.25, 0.75), box_px=(0.1, 0.5, 0.4, 0.9))
PLATE = TargetFacts(phrase="the plate", offset_m=None, grasped=False, point_px=(0.8, 0.2))
FACTS = SceneFacts(targets=(BOWL, PLATE))


def test_points_and_boxes_are_where_the_facts_say() -> None:
    image = np.full((100, 200, 3), 128, np.uint8)
    points = draw_marks(image, FACTS, "point")
    assert tuple(points[25, 150]) == (255, 0, 0)
    assert tuple(points[80, 40]) == (0, 0, 255)
    boxes = draw_marks(image, FACTS, "box")
    red = (boxes == (255, 0, 0)).all(-1)
    rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
    assert (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) == (10, 40, 100, 180)
    assert not red[25, 140]  # a frame, not a filled box
    assert not (boxes == (0, 0, 255)).all(-1).any()  # the plate's box is not known
    assert (image == 128).all()


def test_the_picture_of_the_facts_camera_is_marked_and_what_cannot_be_is_said() -> None:
    observation = LIBERO.fake_native()
    assert with_marks(observation, None, "none", LIBERO) is observation
    marked = with_marks(observation, replace(FACTS, camera="left_wrist_0_rgb"), "point", LIBERO)
    assert marked["observation/image"] is observation["observation/image"]
    assert (marked["observation/wrist_image"] != observation["observation/wrist_image"]).any()
    with pytest.raises(ValueError, match="does not know this task's things"):
        with_marks(observation, None, "box", LIBERO)
    with pytest.raises(ValueError, match="camera 'top'"):
        with_marks(observation, replace(FACTS, camera="top"), "box", LIBERO)


def test_an_evaluation_sends_marked_pictures_and_its_folder_says_so(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Marked(Faked):
        def facts(self) -> SceneFacts:
            return FACTS

        def observe(self) -> dict[str, Any]:
            return {**super().observe(), "observation/image": np.full((64, 64, 3), 128, np.uint8)}

    class Watching(PuppetPolicy):
        def infer(self, observation: Any, options: Any = None) -> Any:
            seen.append(observation["observation/image"])
            return super().infer({**observation, "prompt": "go"}, options)

    policy = Watching()
    job = Job(protocol=PROTOCOL, policy=policy.metadata, visual_prompt="point", videos="none", make=Marked)
    runner = Runner(replace(job, out=tmp_path), policy)
    runner.run(("libero_object", 0, 0))
    assert all(tuple(image[16, 48]) == (255, 0, 0) for image in seen)
    assert settings(job)["visual_prompt"] == "point"
    assert "visual_prompt" not in settings(replace(job, visual_prompt="none"))
