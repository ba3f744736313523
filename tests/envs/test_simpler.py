"""SimplerEnv's environments on fakes with the real observation layouts: states, commands, success, facts, errors."""

import ctypes
from pathlib import Path
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from inspire_fast.envs.gl import RenderingUnavailableError
from inspire_fast.envs.simpler import maniskill3, rendering
from inspire_fast.envs.simpler.environment import SimplerEnvironment
from inspire_fast.envs.simpler.maniskill2 import ManiSkill2
from inspire_fast.envs.simpler.maniskill3 import ManiSkill3, enclosing_box, project
from inspire_fast.envs.simpler.simulator import value
from inspire_fast.envs.simpler.tasks import SUITES, find_task
from inspire_fast.envs.simpler.testing import FakeManiSkill2, FakeManiSkill3
from inspire_fast.robots import ROBOTS

CARROT = find_task("simpler_widowx", 1)
COKE = find_task("simpler_google_coke", 0)


def widowx() -> tuple[SimplerEnvironment, FakeManiSkill3]:
    fake = FakeManiSkill3(CARROT)
    return SimplerEnvironment(CARROT, ManiSkill3(fake)), fake


def google(steps: int = 3) -> tuple[SimplerEnvironment, FakeManiSkill2]:
    fake = FakeManiSkill2()
    return SimplerEnvironment(COKE, ManiSkill2(fake), sticky_steps=steps), fake


def test_tasks_are_those_of_the_published_tables():
    episodes = {suite: sum(task.placements for task in tasks) for suite, tasks in SUITES.items()}
    assert episodes == {
        "simpler_widowx": 4 * 24,
        "simpler_google_coke": 300,
        "simpler_google_near": 240,
        "simpler_google_drawer": 216,
        "simpler_google_apple": 108,
    }
    with pytest.raises(ValueError, match="Did you mean 'simpler_widowx'"):
        find_task("simpler_widow", 0)
    with pytest.raises(ValueError, match=r"tasks 0\.\.3 \(widowx_spoon_on_towel, .*got 4"):
        find_task("simpler_widowx", 4)


def test_the_widowxs_observation_is_its_robots():
    environment, _ = widowx()
    environment.reset(0)
    observation = environment.observe()
    canonical = ROBOTS["widowx_bridge"].canonical(observation)
    assert canonical.images["base_0_rgb"].shape == (480, 640, 3)
    # Measured in ManiSkill 3.0.1 at the start of every episode on the table.
    measured = [0.29206938, -0.00609146, 0.1353209, -0.00453882, 0.05675276, -0.0190036, 0.0, 1.0]
    np.testing.assert_allclose(observation["observation/state"], measured, atol=2e-6)
    assert observation["prompt"] == "put carrot on plate"


def test_the_widowxs_commands_are_metres_a_rotation_vector_and_a_closed_or_open_gripper():
    environment, fake = widowx()
    environment.reset(0)
    sent = environment.step(np.array([0.01, 0.5, -0.02, 0.1, 0.2, -0.3, 0.4], np.float32))
    np.testing.assert_allclose(sent, [0.01, 0.1, -0.02, 0.1, 0.2, -0.3, 0.4], atol=1e-7)  # within the robot's limits
    vector = Rotation.from_euler("xyz", [0.1, 0.2, -0.3]).as_rotvec()
    np.testing.assert_allclose(fake.commands[0], [0.01, 0.1, -0.02, *vector, -1.0], atol=1e-6)
    assert environment.observe()["observation/state"][7] == 0


def carry(environment: SimplerEnvironment) -> None:
    """Grasps the carrot and lets go of it above the plate, by the facts."""

    def go(target: int, height_m: float, *, opening: float) -> None:
        facts = environment.facts()
        assert facts is not None
        for _ in range(6):
            offset = environment.facts().targets[target].offset_m + np.array([0, 0, height_m])
            environment.step(np.array([*np.clip(offset, -0.1, 0.1), 0, 0, 0, opening], np.float32))

    go(0, 0.0, opening=1.0)
    environment.step(np.array([0, 0, 0, 0, 0, 0, 0.0], np.float32))
    assert [target.grasped for target in environment.facts().targets] == [True, False]
    go(1, 0.05, opening=0.0)
    assert not environment.success
    environment.step(np.array([0, 0, 0, 0, 0, 0, 1.0], np.float32))


def test_a_carried_object_is_grasped_and_its_release_on_the_target_is_the_success():
    environment, _ = widowx()
    environment.reset(5)
    assert not environment.success
    carry(environment)
    assert environment.success
    environment.reset(6)
    assert not environment.success


def test_facts_have_offsets_along_the_bases_axes_and_places_in_the_picture():
    environment, _ = widowx()
    environment.reset(2)
    image = environment.observe()["observation/primary_image"]
    facts = environment.facts()
    assert facts is not None
    assert [target.phrase for target in facts.targets] == ["carrot", "plate"]
    for target, colour in zip(facts.targets, ((240, 130, 30), (230, 230, 90)), strict=True):
        y, x = (int(at * size) for at, size in zip(target.point_px, image.shape[:2], strict=True))
        assert tuple(image[y, x]) == colour
        mask = (image == colour).all(axis=-1)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        corners = (rows[0] / 480, columns[0] / 640, (rows[-1] + 1) / 480, (columns[-1] + 1) / 640)
        np.testing.assert_allclose(target.box_px, corners)
    before = np.array(facts.targets[0].offset_m)
    environment.step(np.array([0.02, -0.03, 0.04, 0, 0, 0, 1], np.float32))
    after = environment.facts()
    np.testing.assert_allclose(before - after.targets[0].offset_m, [0.02, -0.03, 0.04], atol=1e-6)
    assert after.targets[0].box_px is None  # nothing was rendered since
    assert after.gripper_px != facts.gripper_px


def test_episodes_count_through_the_placements():
    environment, _ = widowx()
    environment.reset(1)
    first = environment.facts().targets[0].offset_m
    environment.reset(2)
    assert not np.array_equal(environment.facts().targets[0].offset_m, first)
    environment.reset(25)
    np.testing.assert_array_equal(environment.facts().targets[0].offset_m, first)
    with pytest.raises(ValueError, match="episodes count from 0; got -1"):
        environment.reset(-1)


def test_the_google_robots_gripper_is_sticky_and_new_in_every_episode():
    environment, fake = google()
    for _ in range(2):
        environment.reset(4)
        fake.commands.clear()
        for opening in (1.0, 0.0, 0.0, 0.0, 0.0):
            environment.step(np.array([0.1, 0, 0, 0, 0, 0.2, opening], np.float32))
        assert [command[6] for command in fake.commands] == [0, 1, 1, 1, 0]
        np.testing.assert_allclose(fake.commands[0][:6], [0.1, 0, 0, 0, 0, 0.2], atol=1e-7)
        assert environment.success
    observation = environment.observe()
    canonical = ROBOTS["google_robot"].canonical(observation)
    assert canonical.images["base_0_rgb"].shape == (512, 640, 3)
    np.testing.assert_allclose(observation["observation/state"], [1.0, 0.04, 0.9, 0, 0, 0, 1, 1], atol=1e-6)
    assert environment.facts() is None
    with pytest.raises(ValueError, match="at least 1 step"):
        SimplerEnvironment(COKE, ManiSkill2(fake))


def test_an_observation_of_another_layout_names_what_it_has():
    fake = FakeManiSkill2()
    simulator = ManiSkill2(fake, camera="3rd_view_camera")
    simulator.reset(0)
    with pytest.raises(ValueError, match=r"lacks 'image/3rd_view_camera/rgb'.*has \['overhead_camera'\]"):
        simulator.read()
    with pytest.raises(ValueError, match=r"'a/b' must be of one environment; got \(2, 3\)"):
        value({"a": {"b": np.zeros((2, 3))}}, "a/b", batched=True)
    with pytest.raises(ValueError, match="at 'b' it has a ndarray"):
        value({"a": np.zeros(1)}, "a/b", batched=False)


def test_a_point_on_the_optical_axis_is_the_principal_point_and_one_behind_is_not_seen():
    extrinsic, intrinsic = np.eye(4)[:3], np.array([[100.0, 0, 31.5], [0, 100, 23.5], [0, 0, 1]])
    assert project(np.array([0.0, 0, 2]), extrinsic, intrinsic, (48, 64)) == (0.5, 0.5)
    at = project(np.array([0.2, -0.1, 2]), extrinsic, intrinsic, (48, 64))
    np.testing.assert_allclose(at, ((24 - 5) / 48, (32 + 10) / 64))
    assert project(np.array([0.0, 0, -2]), extrinsic, intrinsic, (48, 64)) is None
    assert project(np.array([1.0, 0, 2]), extrinsic, intrinsic, (48, 64)) is None


def test_a_box_encloses_whole_pixels():
    mask = np.zeros((4, 8), bool)
    assert enclosing_box(mask) is None
    mask[1, 2] = mask[2, 5] = True
    assert enclosing_box(mask) == (0.25, 0.25, 0.75, 0.75)


def test_the_shaders_table_is_karis():
    table = rendering.brdf_table(16, 256)
    assert table.shape == (16, 16, 4)
    assert (table[..., :2].sum(-1) <= 1.001).all()
    # A smooth surface seen head-on reflects its base colour alone; at a grazing angle all of it is Fresnel's.
    np.testing.assert_allclose(table[0, -1, :2], [1, 0], atol=0.01)
    assert table[0, 0, 1] > 0.8


def test_what_is_missing_is_named(monkeypatch, tmp_path: Path):
    monkeypatch.delenv("MS_ASSET_DIR", raising=False)
    with pytest.raises(RenderingUnavailableError, match=r"MS_ASSET_DIR='' must name a folder.*download_asset"):
        rendering.assets_folder()
    for key in ("VK_ICD_FILENAMES", "VK_DRIVER_FILES"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    monkeypatch.setattr(rendering, "_NVIDIA", ())
    monkeypatch.setattr(rendering, "_SWIFTSHADER", ())
    with pytest.raises(RenderingUnavailableError, match=r"there is none.*chromium-common"):
        rendering.choose_driver()
    library = tmp_path / "libvk_swiftshader.so"
    library.touch()
    monkeypatch.setattr(rendering, "_SWIFTSHADER", (str(library),))
    assert rendering.choose_driver()
    assert str(library) in Path(rendering.os.environ["VK_ICD_FILENAMES"]).read_text(encoding="utf-8")
    assert rendering.choose_driver()  # the second environment of a process
    monkeypatch.delenv("VK_ICD_FILENAMES")
    monkeypatch.setitem(sys.modules, "sapien", object())
    with pytest.raises(RenderingUnavailableError, match="reads VK_ICD_FILENAMES only once"):
        rendering.choose_driver()
    with pytest.raises(ValueError, match="google_robot_pick_horizontal_coke_can: ManiSkill 3 has no such task"):
        ManiSkill3.make(COKE)
    monkeypatch.setattr(maniskill3, "PACKAGES", ("no-such-package-of-anybody",))
    with pytest.raises(ImportError, match=r"examples/simpler_env/README\.md"):
        ManiSkill3.make(CARROT)


def test_closing_twice_is_harmless():
    environment, fake = widowx()
    environment.close()
    environment.close()
    assert fake.closed
