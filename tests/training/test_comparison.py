"""Comparison of runs: folders in any state are read, the best metrics are marked, the page shows every group."""

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
import re
from typing import Any

import numpy as np
import pytest

from inspire_fast.commands.compare_runs import main
from inspire_fast.training.comparison.compare import as_text, differences, smoothed, table, token_differences
from inspire_fast.training.comparison.page import COLOURS, draw, write_page
from inspire_fast.training.comparison.recorded_run import labels, read_runs
from inspire_fast.training.trackers.metric_names import TITLES
from tests.core.commands import ended
from tests.core.hostile import HOSTILE, require_harmless


def write_run(
    folder: Path, rows: Sequence[Mapping[str, Any]], *, contract: Mapping[str, Any] | None = None, tail: str = ""
) -> Path:
    """A run's folder as training leaves it, two seconds a step; with a checkpoint where there is a contract."""
    folder.mkdir(parents=True)
    lines = [json.dumps({"time": 1000.0 + 2 * row["step"], **row}) + "\n" for row in rows]
    (folder / "metrics.jsonl").write_text("".join(lines) + tail, encoding="utf-8")
    if contract is not None:
        (folder / "20/params").mkdir(parents=True)
        (folder / "20/assets").mkdir()
        (folder / "20/assets/contract.json").write_text(json.dumps(contract), encoding="utf-8")
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A finished run, and one that is still writing, has other metrics, and started later."""
    long = [{"step": n, "loss": 4 / n, "held_out_action_loss": 3.0 + n, "samples_per_s": 10.0} for n in range(1, 41)]
    short = [{"step": n, "loss": 2.0, "samples_per_s": 12.0, "mfu": 0.5, "answer_loss": float("nan")} for n in (1, 10)]
    config = {"name": "demo", "exp_name": "a", "optimizer": {"peak_lr": 0.1}, "steps": 40}
    other = {"name": "demo", "exp_name": "b", "optimizer": {"peak_lr": 0.2}, "steps": 40, "accumulate": 2}
    a = write_run(tmp_path / "demo/a", long, contract={"config": config, "script": "inspire", "horizon": 10})
    contract = {"config": other, "script": "pi0_fast", "horizon": 10}
    b = write_run(tmp_path / "demo/b", short, contract=contract, tail='{"step": 11, "lo')
    held_out = {
        "action_error": 0.5,
        "action_error_by_dim": [0.1, 0.9],
        "confusion": [["left", "right", 3]],
        "samples": 8,
    }
    (b / "held_out.json").write_text(json.dumps(held_out), encoding="utf-8")
    return a, b


def test_a_run_is_read_while_it_is_written(folders):
    a, b = read_runs(folders)
    assert (a.label, b.label) == ("a", "b")
    assert (a.step, b.step, b.step_s) == (40, 10, 2.0)
    np.testing.assert_array_equal(b.curves["loss"], [[1, 2], [10, 2]])
    assert [*b.curves] == ["loss", "samples_per_s", "mfu"]  # a metric that was never a number has no curve
    assert (a.held_out, b.held_out["action_error_by_dim[1]"], len(b.held_out)) == ({}, 0.9, 4)


def test_the_best_value_is_marked_where_one_way_is_better(folders):
    rows = {(row.name, row.kind): row for row in table(read_runs(folders))}
    assert rows["loss", "last"].cells == ((0.1, 40), (2.0, 10))
    assert rows["loss", "last"].best == {0}
    assert rows["samples_per_s", "best"].best == {1}
    assert rows["held_out_action_loss", "best"].cells == (
        (4.0, 1),
        None,
    )  # the least, not the last; the other run lacks it
    assert rows["held_out_action_loss", "best"].best == frozenset()
    assert rows["action_error", "held out"].cells == (None, (0.5, None))


def test_equal_values_and_metrics_without_a_better_way_have_no_best(tmp_path):
    rows = [{"step": 1, "loss": 1.0, "grad_norm": 2.0}]
    runs = read_runs(
        [write_run(tmp_path / name, [{**row, "grad_norm": g} for row in rows]) for name, g in (("a", 1), ("b", 2))]
    )
    assert [(row.name, row.kind, row.best) for row in table(runs)] == [
        ("loss", "last", frozenset()),
        ("loss", "best", frozenset()),
        ("grad_norm", "last", frozenset()),
    ]


def test_what_configs_and_tokens_differ_in_is_told(folders, tmp_path):
    runs = read_runs([*folders, write_run(tmp_path / "new", [{"step": 1, "loss": 1.0}])])
    assert differences(runs) == {
        "optimizer/peak_lr": ["0.1", "0.2", "(none)"],
        "grad_accum_steps": ["(none)", "2", "(none)"],
    }
    assert token_differences(runs) == ["script"]
    assert token_differences(runs[::2]) == []


def test_a_mean_over_steps_does_not_depend_on_how_often_is_logged():
    assert smoothed(np.array([[1, 4], [2, 4], [9, 4.0]]), 0).tolist() == [[1, 4], [2, 4], [9, 4]]
    curve = np.array([[0, 0], [5, 1], [10, 1.0]])
    weights = np.exp([-2, -1, 0])
    np.testing.assert_allclose(smoothed(curve, 5)[:, 1], [0, 1 / (1 + np.exp(-1)), weights[1:].sum() / weights.sum()])
    steps = np.arange(1, 201)
    dense = np.stack([steps, np.log(steps)], axis=1)
    np.testing.assert_allclose(smoothed(dense[9::10], 50)[-1], smoothed(dense, 50)[-1], rtol=0.01)


def test_labels_are_as_short_as_can_be():
    assert labels([Path("/x/demo/first"), Path("/x/demo/second")]) == ["first", "second"]
    assert labels([Path("/x/demo/first"), Path("/x/debug/first")]) == ["demo/first", "debug/first"]
    assert labels([Path("/x/demo/first")]) == ["first"]


def test_a_wrong_folder_is_told_what_was_looked_for(folders, tmp_path):
    a, _ = folders
    with pytest.raises(FileNotFoundError, match="absent is no folder"):
        read_runs([tmp_path / "absent"])
    with pytest.raises(FileNotFoundError, match=rf"holds no metrics\.jsonl.*runs below it: {a}, "):
        read_runs([tmp_path / "demo"])
    with pytest.raises(FileNotFoundError, match=rf"it is one step of a run\. Name the run: {a}\."):
        read_runs([a / "20"])
    (a / "metrics.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match=r"It holds assets, params\.$"):
        read_runs([a / "20"])


def test_damage_and_repetition_are_refused(folders, tmp_path):
    a, b = folders
    with pytest.raises(ValueError, match="named more than once"):
        read_runs([a, b, b / "../a"])
    with pytest.raises(ValueError, match="holds no line yet"):
        read_runs([write_run(tmp_path / "empty", [], tail='{"step"')])
    with pytest.raises(ValueError, match=r"broken/metrics\.jsonl, line 1: not a JSON object"):
        read_runs([write_run(tmp_path / "broken", [], tail='{"step": 1, "lo\n')])


def test_the_page_holds_every_group_and_marks_the_best(folders, tmp_path):
    runs = read_runs(folders)
    page = write_page(runs, tmp_path / "out/comparison.html").read_text(encoding="utf-8")
    groups = re.findall(r'<h2>([^<]+)</h2><img alt="" src="data:image/png;base64,', page)
    assert groups == [TITLES["losses"], TITLES["held_out"], TITLES["speed"]]
    best = '<td class="n"><span class="best">0.1</span> <span class="note">at 40</span></td>'
    assert f'{best}<td class="n"><span>2</span> <span' in page
    assert "The runs differ in script: their tokens are not the same" in page
    assert "<td>optimizer/peak_lr</td><td>0.1</td><td>0.2</td>" in page
    assert "http" not in page  # nothing is fetched


def test_names_and_configs_cannot_break_the_page(tmp_path):
    contract = {"config": {"name": HOSTILE, HOSTILE: HOSTILE}, "script": "inspire"}
    metrics = [{"step": 1, HOSTILE: 1.0}]
    hostile = write_run(tmp_path / HOSTILE.replace("/", ""), metrics, contract=contract)
    plain = write_run(tmp_path / "plain", metrics, contract={"config": {"name": "plain"}, "script": "pi0_fast"})
    require_harmless(
        write_page(read_runs([hostile, plain]), tmp_path / "page.html").read_text(encoding="utf-8"), shown=3
    )


def test_each_run_is_one_colour_and_a_missing_metric_leaves_it_out(folders):
    figure = draw(read_runs(folders), ["loss", "held_out_action_loss", "mfu"])
    lines = [[(line.get_color(), len(line.get_xdata())) for line in axes.lines] for axes in figure.axes]
    assert lines == [
        [(COLOURS[0], 40), (COLOURS[0], 40), (COLOURS[1], 2)],  # raw and smoothed; two points are not smoothed
        [(COLOURS[0], 40)],  # held out: as measured
        [(COLOURS[1], 2)],
    ]


def test_the_table_is_printed(folders):
    lines = as_text(read_runs(folders)).splitlines()
    assert lines[0].split() == ["a", "b"]
    assert "loss                    last      0.1*    2" in lines
    assert "mfu                     last      -       0.5" in lines


def test_the_command_writes_the_page(folders, tmp_path, capsys):
    done = ended(main, [*folders, "--out", tmp_path / "out"], capsys)
    assert (done.status, done.out.splitlines()[-1:]) == (0, [str(tmp_path / "out/comparison.html")]), done.err
    assert (tmp_path / "out/comparison.html").is_file()
