from dataclasses import asdict
import json

import pytest

from inspire_fast.evaluation.run.episodes import list_episodes
from inspire_fast.evaluation.run.libero import LiberoProtocol
from inspire_fast.evaluation.run.protocols import PROTOCOLS, protocol_from
from inspire_fast.evaluation.run.runner import check_policy


@pytest.mark.parametrize(
    ("name", "pinned"), [("openpi", "67879c20ce95"), ("inspire", "9e0a45e9cd4b"), ("quick", "b58825badd15")]
)
def test_protocols_are_pinned(name: str, pinned: str) -> None:
    """A changed protocol is another protocol: published results name these hashes."""
    protocol = PROTOCOLS[name]
    assert protocol.hash == pinned
    assert protocol_from(json.loads(json.dumps(asdict(protocol)))) == protocol


def test_openpi_and_inspire_are_as_published() -> None:
    openpi, inspire = PROTOCOLS["openpi"], PROTOCOLS["inspire"]
    limits = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}
    assert isinstance(openpi, LiberoProtocol)
    assert isinstance(inspire, LiberoProtocol)
    for protocol in (openpi, inspire):
        assert protocol.max_steps == limits
        assert (protocol.settle_steps, protocol.execute, protocol.seed) == (10, 5, 7)
    assert (openpi.trials, openpi.orientation, openpi.fixtures) == (50, "rotated_180", "sequence")
    assert (inspire.trials, len(inspire.suites), inspire.seen) == (10, 5, ("libero_90",))


def test_a_changed_protocol_says_so() -> None:
    quick = PROTOCOLS["quick"]
    other = quick.changed(execute=10, seed=7, camera_px=None)
    assert other.name == "quick with other execute"
    assert other.hash != quick.hash
    assert quick.changed(execute=5, seed=None) is quick
    with pytest.raises(ValueError, match=r"has no \['execut'\]"):
        quick.changed(execut=3)
    with pytest.raises(KeyError, match="Did you mean 'openpi'"):
        PROTOCOLS["openpy"]


def test_a_plan_is_in_order_and_refuses_what_does_not_exist() -> None:
    quick = PROTOCOLS["quick"]
    assert len(list_episodes(quick)) == 3 * 10 * 2
    assert len(list_episodes(PROTOCOLS["inspire"])) == 130 * 10
    assert list_episodes(quick, only=["libero_10:3", "libero_object:1"]) == [
        ("libero_10", 3, 0),
        ("libero_10", 3, 1),
        ("libero_object", 1, 0),
        ("libero_object", 1, 1),
    ]
    assert len(list_episodes(PROTOCOLS["openpi"], suites=["libero_goal"], episodes=3)) == 30
    with pytest.raises(ValueError, match="Did you mean 'libero_goal'"):
        list_episodes(quick, suites=["libero_goals"])
    with pytest.raises(ValueError, match=r"has tasks 0\.\.9; got 10"):
        list_episodes(quick, only=["libero_goal:10"])
    with pytest.raises(ValueError, match=r"suite:number.*got 'libero_goal'"):
        list_episodes(quick, only=["libero_goal"])
    with pytest.raises(ValueError, match=r"1\.\.2 episodes per task; got 3"):
        list_episodes(quick, episodes=3)


def test_policies_that_do_not_fit_are_refused_before_the_first_episode() -> None:
    openpi = PROTOCOLS["openpi"]
    check_policy({}, openpi, "own")  # openpi's server says nothing
    with pytest.raises(ValueError, match="drives 'aloha'"):
        check_policy({"robot": "aloha"}, openpi, "own")
    with pytest.raises(ValueError, match="trained on flipped_vertically"):
        check_policy({"robot": "libero_front", "image_orientation": "flipped_vertically"}, openpi, "own")
    with pytest.raises(ValueError, match="asks no questions"):
        check_policy({"robot": "libero"}, openpi, "oracle")


def test_another_simulator_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PROTOCOLS["quick"].simulator_versions()["mujoco"] == "3.2.7"
    monkeypatch.setattr("importlib.metadata.version", lambda name: "3.3.7")
    with pytest.raises(ValueError, match=r"needs mujoco 3\.2\.7; 3\.3\.7 is installed"):
        PROTOCOLS["quick"].simulator_versions()


def test_disturbed_suites_have_the_limits_of_those_they_disturb() -> None:
    openpi = PROTOCOLS["openpi"]
    assert openpi.limit("libero_10_swap") == openpi.limit("libero_10") == 520
    assert len(list_episodes(openpi, suites=["libero_goal_lan"], episodes=1)) == 10
    only_goal = openpi.changed(suites=("libero_goal",), max_steps={"libero_goal": 300})
    with pytest.raises(ValueError, match="Unknown suite of protocol"):
        only_goal.limit("libero_spatial")
