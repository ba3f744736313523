import sys

import pytest

from inspire_fast.envs.libero import install
from inspire_fast.envs.libero.suites import PRO_SUITES, SUITES, find_task, tasks
from inspire_fast.envs.libero.target_table import targets_of

pytestmark = pytest.mark.sim


def test_five_suites_list_their_tasks_with_files_that_exist():
    counts = {suite: len(tasks(suite)) for suite in SUITES}
    assert counts == dict(zip(SUITES, (10, 10, 10, 10, 90), strict=True))
    for task in (task for suite in SUITES for task in tasks(suite)):
        assert task.bddl_file.is_file()
        assert task.initial_states_file.is_file()
    assert tasks("libero_object")[0].initial_states().shape[0] == 50
    assert tasks("libero_object")[0].prompt == "pick up the alphabet soup and place it in the basket"


@pytest.mark.parametrize(
    ("suite", "task", "hint"),
    [
        ("libero_objct", 0, "libero_object"),
        ("libero_object", 10, "0..9"),
        ("libero_object", "pick_up_the_milk", "milk"),
    ],
)
def test_unknown_suites_and_tasks_are_refused_with_what_there_is(suite: str, task: int | str, hint: str):
    with pytest.raises(ValueError, match=hint):
        find_task(suite, task)


def test_without_the_simulator_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ImportError, match=r"uv sync --extra sim"):
        tasks("libero_object")


def test_listing_tasks_starts_no_simulator():
    import subprocess

    code = (
        "import sys; from inspire_fast.envs import tasks; import inspire_fast.labeling.demonstrations.record;"
        "before = [m for m in ('libero', 'mujoco') if m in sys.modules]; tasks('libero_90');"
        "print(before, [m for m in ('mujoco', 'robosuite', 'jax', 'torch') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True, timeout=120)
    assert out.stdout.strip() == "[] []"


def test_libero_pros_suites_have_problems_states_and_their_own_words():
    assert len(PRO_SUITES) == 16
    for suite, base in PRO_SUITES.items():
        disturbed = tasks(suite)
        assert [task.name for task in disturbed] == [task.name for task in tasks(base)]
        assert all(task.bddl_file.exists() and task.initial_states_file.exists() for task in disturbed)
    assert find_task("libero_goal_swap", 1).prompt == find_task("libero_goal", 1).prompt == "put the bowl on the stove"
    assert find_task("libero_goal_lan", 1).prompt == "place the bowl on the stove"
    assert find_task("libero_goal_task", 1).prompt == "put the plate on the stove"
    assert targets_of(find_task("libero_goal_swap", 1)) == targets_of(find_task("libero_goal", 1))
    with pytest.raises(ValueError, match="libero_goal_lan"):
        targets_of(find_task("libero_goal_lan", 1))
    with pytest.raises(ValueError, match="Did you mean 'libero_goal_swap'"):
        tasks("libero_goal_swaps")
