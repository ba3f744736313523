from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
import numpy as np
import pytest

from inspire_fast.robots.arms.kinematics import moved, pose_difference, read_urdf, rotation, rotation_vector
from inspire_fast.robots.arms.testing import planar_chain

URDF = """<?xml version="1.0"?>
<robot name="two">
  <link name="base"/><link name="upper"/><link name="lower"/><link name="hand"/><link name="aside"/>
  <joint name="shoulder" type="revolute">
    <parent link="base"/><child link="upper"/><origin xyz="0 0 0.5" rpy="0 0 0"/><axis xyz="0 0 2"/>
    <limit lower="-1" upper="1.5" velocity="2" effort="1"/>
  </joint>
  <joint name="slider" type="prismatic">
    <parent link="upper"/><child link="lower"/><origin xyz="1 0 0" rpy="0 0 1.5707963267948966"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="0.4" velocity="0.1" effort="1"/>
  </joint>
  <joint name="flange" type="fixed"><parent link="lower"/><child link="hand"/><origin xyz="0 0 -0.1"/></joint>
  <joint name="camera" type="fixed"><parent link="base"/><child link="aside"/></joint>
</robot>"""
CHAIN = planar_chain(7)
angles = arrays(float, 7, elements=st.floats(-2.0, 2.0))
vectors = arrays(float, 3, elements=st.floats(-1.7, 1.7))


def test_a_urdf_is_read_from_the_root_to_the_tip():
    chain = read_urdf(URDF, tip="hand")
    assert chain.names == ("shoulder", "slider")
    assert (chain.low.tolist(), chain.high.tolist()) == ([-1, 0], [1.5, 0.4])
    assert chain.velocity.tolist() == [2, 0.1]
    pose = chain.pose(np.array([np.pi / 2, 0.3]))
    # The shoulder turns the arm to y; the slider, turned by a quarter itself, slides back along x.
    np.testing.assert_allclose(pose[:3, 3], [-0.3, 1.0, 0.4], atol=1e-12)
    np.testing.assert_allclose(pose[:3, :3], rotation(np.array([0, 0, np.pi])), atol=1e-12)


def test_a_joint_without_an_axis_moves_along_x():
    """URDF's default."""
    chain = read_urdf(URDF.replace('<axis xyz="1 0 0"/>', ""), tip="hand")
    np.testing.assert_allclose(chain.pose(np.array([0.0, 0.3]))[:3, 3], [1.0, 0.3, 0.4], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "tip", "words"),
    [
        (URDF, "finger", "no link 'finger'; it has aside, base, hand, lower, upper"),
        ("not xml", "hand", "This is no URDF"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><robot/>', "hand", "no DOCTYPE"),
        (URDF.replace("prismatic", "floating"), "hand", "'slider' of the URDF is floating"),
        (URDF, "aside", "No joint of the URDF moves the tip"),
        (URDF.replace("0 0 0.5", "0 0"), "hand", "expected three numbers"),
    ],
)
def test_what_is_no_urdf_of_the_arm(text, tip, words):
    with pytest.raises(ValueError, match=words):
        read_urdf(text, tip=tip)


@settings(deadline=None, max_examples=30)
@given(angles)
def test_the_jacobian_is_the_derivative_of_the_pose(q):
    step = 1e-6
    columns = [
        pose_difference(CHAIN.pose(q - step * unit), CHAIN.pose(q + step * unit)) / (2 * step) for unit in np.eye(7)
    ]
    np.testing.assert_allclose(CHAIN.jacobian(q), np.array(columns).T, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(vectors)
def test_rotation_vectors_and_matrices(vector):
    matrix = rotation(vector)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation(rotation_vector(matrix)), matrix, atol=1e-7)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 0, 1), (0.6, -0.8, 0)])
def test_half_a_turn_has_a_rotation_vector(axis):
    matrix = rotation(np.pi * np.array(axis))
    np.testing.assert_allclose(rotation(rotation_vector(matrix)), matrix, atol=1e-6)


@settings(deadline=None, max_examples=15)
@given(angles, arrays(float, 7, elements=st.floats(-0.05, 0.05)))
def test_inverse_kinematics_finds_a_near_pose(q, change):
    wanted = CHAIN.pose(q + change)
    found = CHAIN.inverse(wanted, q, low=CHAIN.low, high=CHAIN.high)
    assert np.abs(pose_difference(CHAIN.pose(found), wanted)).max() < 2e-3  # near singularities it is damped
    assert (found >= CHAIN.low).all()
    assert (found <= CHAIN.high).all()


def test_what_is_out_of_reach_is_approached_within_the_limits():
    far = np.eye(4)
    far[:3, 3] = [5.0, 0.0, 0.0]
    found = CHAIN.inverse(far, np.full(7, 0.3), low=CHAIN.low, high=CHAIN.high)
    assert np.linalg.norm(CHAIN.pose(found)[:3, 3]) > np.linalg.norm(CHAIN.pose(np.full(7, 0.3))[:3, 3])
    assert (np.abs(found) <= 2.5).all()


def test_a_difference_leads_from_one_pose_to_the_other():
    before, after = CHAIN.pose(np.full(7, 0.2)), CHAIN.pose(np.full(7, 0.5))
    np.testing.assert_allclose(moved(before, pose_difference(before, after)), after, atol=1e-9)


def test_a_chain_says_how_many_joints_it_has():
    with pytest.raises(ValueError, match="The chain has 7 joints"):
        CHAIN.pose(np.zeros(6))
