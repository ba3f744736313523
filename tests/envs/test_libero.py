import os
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest

from inspire_fast.envs import LiberoEnvironment, LiberoSettings, RenderingUnavailableError
from inspire_fast.envs.gl import choose_backend
from inspire_fast.envs.libero.camera import project
from inspire_fast.robots import ROBOTS

pytestmark = pytest.mark.sim


def physics(environment: LiberoEnvironment) -> np.ndarray:
    """Everything that an episode's beginning consists of: time, joints, speeds, and the poses of fixtures."""
    sim = environment._domain.sim
    return np.concatenate([sim.get_state().flatten(), sim.model.body_pos.ravel(), sim.model.body_quat.ravel()])


def test_an_observation_is_what_the_robot_expects(soup: LiberoEnvironment):
    soup.reset(0)
    native = soup.observe()
    observation = ROBOTS["libero"].canonical(native)
    assert observation.prompt == "pick up the alphabet soup and place it in the basket"
    for key in ("observation/image", "observation/wrist_image"):
        assert native[key].shape == (96, 128, 3)
        assert native[key].dtype == np.uint8
        assert native[key].std() > 10  # something is to be seen
    np.testing.assert_array_equal(native["observation/state"], soup.state())
    np.testing.assert_allclose(native["observation/state"][:3], soup.gripper_m(), atol=1e-6)
    np.testing.assert_allclose(native["observation/state"][6:], [0.04, -0.04], atol=0.002)  # open fingers


def test_pictures_are_turned_by_180_degrees(soup: LiberoEnvironment):
    """In the rotated picture the robot's base is at the top, and the blue soup, on its left (-y), at the right."""
    soup.reset(0)
    image = soup.observe()["observation/image"].astype(int)
    height, width, _ = image.shape
    y, x = (round(v * n) for v, n in zip(soup.facts().targets[0].point_px, (height, width), strict=True))
    assert x > width / 2
    patch = image[y - 2 : y + 3, x - 2 : x + 3].mean(axis=(0, 1))
    floor = image[round(0.9 * height), round(0.5 * width)]
    assert patch[2] > patch[0]  # the label is blue,
    assert floor.sum() > patch.sum() + 100  # and darker than the floor
    assert image[: height // 4].std() > image[3 * height // 4 :].std()  # arm above, empty floor below


def test_facts_agree_with_geometry(soup: LiberoEnvironment):
    soup.reset(1)
    can, basket = soup.facts().targets
    assert (can.phrase, basket.phrase) == ("the alphabet soup", "the basket")
    np.testing.assert_allclose(can.offset_m, soup.position_m("alphabet_soup_1") - soup.gripper_m(), atol=1e-6)
    np.testing.assert_allclose(
        basket.offset_m, soup.position_m("basket_1_contain_region") - soup.gripper_m(), atol=1e-6
    )
    assert can.offset_m[1] < -0.2  # left of the gripper,
    assert can.offset_m[2] < -0.2  # below it,
    assert basket.offset_m[1] > 0.2  # and the basket to its right
    assert not can.grasped
    assert not basket.grasped
    before = [target.offset_m for target in soup.facts().targets]
    np.testing.assert_array_equal(
        before, [target.offset_m for target in soup.facts().targets]
    )  # looking changes nothing


def test_moving_the_hand_to_the_right_makes_targets_go_left(soup: LiberoEnvironment):
    soup.reset(0)
    before = soup.facts().targets[0].offset_m
    sent = [soup.step(np.array([0, 3.0, 0, 0, 0, 0, -1])) for _ in range(5)]
    np.testing.assert_array_equal(sent[0], [0, 1, 0, 0, 0, 0, -1])  # clipped to the limits, and said so
    after = soup.facts().targets[0].offset_m
    assert after[1] < before[1] - 0.03
    assert abs(after[0] - before[0]) < 0.01


def test_episodes_do_not_depend_on_what_ran_before(soup: LiberoEnvironment):
    soup.reset(3)
    first = physics(soup)
    rng = np.random.default_rng(0)
    soup.reset(7)
    assert not np.array_equal(physics(soup), first)
    for _ in range(15):
        soup.step(rng.uniform(-1, 1, 7))
    np.random.seed(123)
    soup.reset(3)
    np.testing.assert_array_equal(physics(soup), first)
    assert np.random.randint(1 << 30) == np.random.RandomState(123).randint(
        1 << 30
    )  # the caller's draws go on as before


def test_wrong_use_is_refused_with_what_to_do(soup: LiberoEnvironment):
    soup.reset(0)
    with pytest.raises(ValueError, match="50 fixed initial states"):
        soup.reset(50)
    with pytest.raises(ValueError, match=r"shape \(7,\)"):
        soup.step(np.zeros(6))
    with pytest.raises(ValueError, match="NaN"):
        soup.step(np.full(7, np.nan))
    with pytest.raises(ValueError, match="full, reduced"):
        LiberoSettings(render_quality="low")  # pyright: ignore[reportArgumentType]


def test_a_second_environment_shares_the_process_and_both_draw_their_own_scene(soup: LiberoEnvironment):
    soup.reset(0)
    alone = soup.observe()["observation/image"]
    bowl = LiberoEnvironment("libero_spatial", 0, LiberoSettings(camera_hw=(96, 128), initial_states="randomized"))
    bowl.reset(60)  # more episodes than there are fixed states
    theirs = bowl.observe()["observation/image"]
    assert np.abs(theirs.astype(int) - alone).mean() > 10
    np.testing.assert_array_equal(soup.observe()["observation/image"], alone)
    first = physics(bowl)
    bowl.reset(61)
    assert not np.array_equal(physics(bowl), first)
    bowl.close()
    bowl.close()
    np.testing.assert_array_equal(soup.observe()["observation/image"], alone)
    with pytest.raises(RuntimeError, match="closed"):
        bowl.step(np.zeros(7))


def test_projection_of_a_point():
    """Camera at the origin, looking along -z; a 90 degree field of view sees 1 m to each side at 1 m."""
    at = lambda x, y, z: project(np.array([x, y, z]), np.zeros(3), np.eye(3), 90.0, 2.0)  # noqa: E731
    assert at(0, 0, -1) == pytest.approx((0.5, 0.5))
    assert at(0, 0.5, -1) == pytest.approx((0.25, 0.5))  # up is up
    assert at(1, 0, -1) == pytest.approx((0.5, 0.25))  # the camera's right is the turned picture's left
    assert at(0, 0, 1) is None
    assert at(3, 0, -1) is None


def test_a_back_end_that_is_set_is_respected(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    assert choose_backend() == "osmesa"


def test_no_back_end_names_the_packages(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr("inspire_fast.envs.gl._load", lambda *_: None)
    with pytest.raises(RenderingUnavailableError, match=r"libegl1 libgl1.*libosmesa6 libgl1"):
        choose_backend()


def test_without_a_renderer_it_steps_but_does_not_observe(tmp_path: Path):
    """In a process of its own, since the back end is chosen once; it leaves no log file in the temporary folder."""
    code = (
        "import numpy as np; from inspire_fast.envs import *\n"
        "environment = LiberoEnvironment('libero_goal', 7); environment.reset(0)\n"
        "print(environment.step(np.zeros(7)).shape, environment.facts().targets[0].phrase, environment.success)\n"
        "try: environment.observe()\n"
        "except RenderingUnavailableError as error: print('refused', error)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "MUJOCO_GL": "disable", "TMPDIR": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=240,
    )
    assert out.stdout.startswith("(7,) the stove False\nrefused Cameras cannot be rendered: MUJOCO_GL=disable")
    assert "WARN" not in out.stderr
