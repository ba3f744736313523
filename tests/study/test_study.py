"""A study's queue, the identity of its results, and its table. The commands that it calls have tests of their own."""

from __future__ import annotations

from dataclasses import replace
import json
from pathlib import Path
import shutil

import pytest

from inspire_fast.commands import study as command
from inspire_fast.data.testing import write_fake_dataset
from inspire_fast.evaluation.records import records
from inspire_fast.evaluation.records.records import AnswerRecord, CallRecord, EpisodeRecord
from inspire_fast.study import queue
from inspire_fast.study.definition import load_study

DEFINITION = """
from inspire_fast.study.definition import Arm, Condition, Study

STUDY = Study(
    name="small",
    recordings={"object": ("--tasks", "libero_object:0", "--episodes", "2")},
    arms=(
        Arm(name="plain", config="debug", options=("--dialogue.script", "pi0_fast")),
        Arm(name="inspire", config="debug", answering=("own", "oracle")),
    ),
    seeds=(0, 1),
    steps=5,
    conditions=(
        Condition(name="seen", tasks=("libero_object:0", "libero_object:1"), every_answering=True),
        Condition(name="unseen", tasks=("libero_goal:0",)),
    ),
    episodes=4,
)
"""
# Arm and source of answers -> episodes of 4 that are solved, of every task and seed.
SOLVED = {"third own": (), "plain own": (0,), "inspire own": (0, 1, 2), "inspire oracle": (0, 1, 2, 3)}


class Commands:
    """Stands in for the commands that take hours; `evaluate` writes records that a run of it could have written."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.fails_at = ""

    def __call__(self, *words: object) -> None:
        name, *said = map(str, words[2:])
        if name == self.fails_at:
            raise SystemExit(3)
        self.calls.append([name, *said])
        if name == "record_demonstrations":
            write_fake_dataset(Path(said[said.index("--root") + 1]))
        if name == "evaluate":
            self._evaluate(said)

    def _evaluate(self, said: list[str]) -> None:
        folder = Path(said[said.index("--out") + 1])
        arm, source = folder.parent.name.rpartition("-")[0], folder.name.rpartition("-")[2]
        answers = ("left", "left") if arm == "inspire" else ()
        for task in said[said.index("--tasks") + 1 : said.index("--episodes")]:
            for episode in range(4):
                suite, number = task.split(":")
                solved = episode in SOLVED[f"{arm} {source}"]
                records.append(folder, record(suite, int(number), episode, solved, answers))


def record(suite: str, task: int, episode: int, solved: bool, answers: tuple[str, ...]) -> EpisodeRecord:
    said = tuple(
        AnswerRecord(question="direction", asked="?", target="the cup", answer=word, probability=1.0, truth=truth)
        for word, truth in zip(answers, ("left", "up"), strict=False)
    )
    call = CallRecord(step=0, answers=said, status="ok", reason="", timing_ms={"infer_ms": 20.0})
    return EpisodeRecord(
        suite=suite,
        task=task,
        prompt="",
        episode=episode,
        success=solved,
        stopped="",
        reason="",
        steps=1,
        holds=0,
        seconds=1.0,
        video=None,
        calls=(call,),
    )


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands()
    monkeypatch.setattr(queue, "command", made)
    return made


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Command line of a small study."""
    path = tmp_path / "small.py"
    path.write_text(DEFINITION, encoding="utf-8")
    return [str(path), "--out", str(tmp_path / "out")]


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_every_run_is_trained_and_evaluated_once_and_a_second_start_continues(
    commands: Commands, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    commands.fails_at = "evaluate"
    with pytest.raises(SystemExit):
        command.main(words)
    assert [call[0] for call in commands.calls] == [
        "record_demonstrations",
        "compute_norm_stats",
        "fit_tokenizers",
        "train",
    ]
    commands.calls, commands.fails_at = [], ""
    command.main(words)
    names = [call[0] for call in commands.calls]
    assert (names.count("train"), names.count("evaluate"), names.count("compute_norm_stats")) == (3, 10, 1)
    seeds = [call[call.index("--seed") + 1] for call in commands.calls if call[0] == "train"]
    assert seeds == ["0", "1", "1"]  # both arms of the first seed come first
    found = last_line(capsys)
    assert (found["runs_finished"], found["runs"], found["episodes"]) == (4, 4, 64)
    commands.calls = []
    command.main(words)
    assert not commands.calls


def test_the_table_pairs_episodes_of_the_same_seed(
    commands: Commands, words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command.main(words)
    table = last_line(capsys)["table"]
    assert isinstance(table, list)
    rows = {(row["arm"], row["condition"], row["answers"]): row for row in table}
    assert list(rows) == [
        ("plain", "seen", "own"),
        ("inspire", "seen", "own"),
        ("inspire", "seen", "oracle"),
        ("plain", "unseen", "own"),
        ("inspire", "unseen", "own"),
    ]
    plain, inspire = rows["plain", "seen", "own"], rows["inspire", "seen", "own"]
    assert (plain["successes"], plain["episodes"], plain["difference_to_first_arm"]) == (4, 16, None)
    assert (inspire["successes"], inspire["difference_to_first_arm"]) == (12, 0.5)
    assert inspire["p_value"] == pytest.approx(2 / 2**8)  # eight pairs that only one of the two solved
    assert (inspire["answer_accuracy"], inspire["answer_majority_baseline"]) == (0.5, 0.5)
    assert plain["answer_accuracy"] is None
    assert (inspire["infer_ms"], inspire["seeds"]) == (20.0, [0, 1])
    page = (tmp_path / "out" / "study.html").read_text(encoding="utf-8")
    assert "12 of 16" in page
    assert "Not trained yet" not in page


def test_results_of_another_definition_code_or_data_are_refused(
    commands: Commands, words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command.main(words)
    path, data = Path(words[0]), tmp_path / "out" / "data" / "object"
    more = DEFINITION.replace("seeds=(0, 1)", "seeds=(0, 1, 2)").replace(
        "    arms=(\n", '    arms=(\n        Arm(name="third", config="debug"),\n'
    )
    path.write_text(DEFINITION.replace("steps=5", "steps=6"), encoding="utf-8")
    with pytest.raises(SystemExit):
        command.main(words)
    assert "all.steps: 5 then, 6 now" in capsys.readouterr().err
    path.write_text(DEFINITION, encoding="utf-8")
    shutil.rmtree(data)
    write_fake_dataset(data, episodes=5)
    with pytest.raises(SystemExit):
        command.main(words)
    assert "data.object.total_episodes" in capsys.readouterr().err
    shutil.rmtree(data)
    write_fake_dataset(data)
    with monkeypatch.context() as patch:
        patch.setattr(queue, "_DECIDES", ("dialogue",))
        with pytest.raises(SystemExit):
            command.main(words)
    assert "code.sha256" in capsys.readouterr().err
    path.write_text(more, encoding="utf-8")
    commands.calls = []
    command.main(words)  # more arms and seeds are welcome
    assert sum(call[0] == "train" for call in commands.calls) == 5


def test_a_definition_that_cannot_be_run_is_refused() -> None:
    study = load_study("questions")
    assert len(study.runs) == 12
    with pytest.raises(KeyError, match="Did you mean 'questions'"):
        load_study("question")
    with pytest.raises(ValueError, match="names of its arms must differ"):
        replace(study, arms=study.arms * 2)
    with pytest.raises(ValueError, match="needs seeds"):
        replace(study, seeds=())
