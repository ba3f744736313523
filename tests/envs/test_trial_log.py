from pathlib import Path

import pytest

from inspire_fast.envs.libero.experts.trial_log import append, passes, read, row, summary
from inspire_fast.envs.libero.experts.trials import Trial, TrialSpec
from inspire_fast.envs.libero.suites import Task


def trial(episode: int, success: bool = True, **changes: object) -> Trial:
    values = {"suite": "libero_goal", "task": 1, "episode": episode, "success": success, "kept": success, "steps": 90}
    return Trial(**{**values, "seconds": 1.5, **changes})


def test_a_log_gives_back_what_was_added_and_survives_a_cut(tmp_path: Path):
    path, spec = tmp_path / "runs" / "trials.jsonl", TrialSpec()
    assert read(path, spec) == {}
    trials = [trial(0), trial(1, False, reason="does not hold")]
    for each in trials:
        append(path, spec, each)
    assert read(path, spec) == {each.key: each for each in trials}
    path.write_text(path.read_text(encoding="utf-8") + '{"suite": "libero_g', encoding="utf-8")  # killed while it wrote
    assert list(read(path, spec)) == [each.key for each in trials]
    append(path, spec, trial(2))
    assert sorted(key[2] for key in read(path, spec)) == [0, 1, 2]


def test_trials_of_another_spec_are_not_mixed(tmp_path: Path):
    path = tmp_path / "trials.jsonl"
    append(path, TrialSpec(), trial(0))
    with pytest.raises(ValueError, match="choose another --out"):
        read(path, TrialSpec(variation=False))


def test_counts_are_over_tasks_and_what_is_refused_is_not_tried():
    good = [trial(i, i > 0) for i in range(5)]
    held = [trial(i, kept=i < 3) for i in range(5)]
    bad = [trial(i, i > 1) for i in range(5)]
    refused = [trial(i, False, refused=True, reason="covered") for i in range(5)]
    assert summary([good, held, bad, refused, []]) == {
        "tasks": 5,
        "tasks_tried": 3,
        "tasks_at_80_percent": 2,
        "tasks_at_80_percent_kept": 1,
        "trials": 20,
        "solved": 12,
        "kept": 10,
    }
    assert not passes([])


def test_a_row_shows_steps_of_successes_only():
    task = Task(suite="libero_goal", index=1, name="n", prompt="do it", bddl_file=Path(), initial_states_file=Path())
    trials = [trial(0), trial(1, steps=100), trial(2, False, steps=700, reason="does not hold")]
    assert row(task, trials) == "| libero_goal:1 | 2/3 | 2/3 | 95 | do it | does not hold |"
    assert row(task, []) == "| libero_goal:1 | 0/0 | 0/0 | - | do it |  |"
