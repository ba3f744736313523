"""Files that revision 115035d wrote: its checkpoint, dataset and labels still mean the same numbers.

Written by that revision's `train` (config `debug`, two steps, 1024 ids) on its
`write_fake_dataset(episodes=2, frames=4, hw=8)`, without the optimizer's state. `expected.json` holds what its own
policy and readers said.
"""

from collections.abc import Mapping
from dataclasses import replace
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.core.policy import RequestOptions
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.policy.policy import InspirePolicy

DATA = Path(__file__).parent / "data"
EXPECTED: Mapping[str, Any] = json.loads((DATA / "expected.json").read_text(encoding="utf-8"))
REQUESTS = {
    "answer": RequestOptions(),
    "force": RequestOptions(mode="force", targets=["the red block", "the plate"], answers=["left", "grasped"]),
    "skip": RequestOptions(mode="skip"),
}


@pytest.fixture(scope="module")
def policy() -> InspirePolicy:
    return InspirePolicy.load(DATA / "checkpoint")


def test_the_contract_is_read_and_written_again_unchanged() -> None:
    assets = DATA / "checkpoint" / "2" / "assets"
    contract = Contract.read(assets)
    assert contract.revision.startswith(EXPECTED["revision"])
    assert json.loads(contract.to_json()) == json.loads((assets / "contract.json").read_text(encoding="utf-8"))


def test_a_contract_of_that_revision_reads_angles_on_a_line_and_goes_on_whatever_its_rate() -> None:
    old = Contract.read(DATA / "checkpoint" / "2" / "assets")
    assert (old.periods, old.control_hz) == ({}, 0.0)
    new = replace(old, control_hz=20.0)
    assert old.differences(new) == new.differences(old) == []
    assert new.differences(replace(new, control_hz=10.0)) == ["control_hz: 20.0 and 10.0"]
    turning = replace(new, periods={"state": (0.0,) * 7 + (6.5,), "actions": (0.0,) * 7}, delta=(True, 6.5))
    again = Contract.from_json(turning.to_json())
    assert again == turning
    assert old.differences(again)
    assert again.normalizer().periods["state"][7] == 6.5


def test_the_policy_announces_what_it_did(policy: InspirePolicy) -> None:
    now = json.loads(json.dumps(dict(policy.metadata)))
    assert {key: now[key] for key in EXPECTED["metadata"]} == EXPECTED["metadata"]


@pytest.mark.parametrize("mode", REQUESTS)
def test_answers_and_actions_are_those_of_the_earlier_code(policy: InspirePolicy, mode: str) -> None:
    chunk = policy.infer(policy.robot.fake_native(seed=EXPECTED["seed"]), REQUESTS[mode])
    expected = EXPECTED["chunks"][mode]
    assert [[a.question, a.target, a.answer] for a in chunk.answers] == [row[:3] for row in expected["answers"]]
    np.testing.assert_allclose(
        [a.probability for a in chunk.answers], [row[3] for row in expected["answers"]], rtol=1e-3
    )
    np.testing.assert_allclose(np.asarray(chunk.actions), expected["actions"], atol=1e-5)


def test_dataset_and_labels_are_read() -> None:
    dataset, facts = LeRobotDataset(DATA / "dataset"), FactsTable.load(DATA / "dataset")
    assert len(dataset) == len(EXPECTED["rows"]) == len(facts)
    for index, expected in enumerate(EXPECTED["rows"]):
        episode, frame = dataset.locate(index)
        assert (episode.index, frame, dataset.task(index)) == (expected["episode"], expected["frame"], expected["task"])
        row = dataset.row(index)
        for column in ("state", "actions"):
            np.testing.assert_allclose(row[column], expected[column], rtol=1e-6)
        assert row["image"].shape == (8, 8, 3)
        scene = facts.facts(episode.index, frame)
        assert scene is not None
        for target, (phrase, offset_m, grasped) in zip(scene.targets, expected["targets"], strict=True):
            assert (target.phrase, target.grasped) == (phrase, grasped)
            np.testing.assert_allclose(target.offset_m, offset_m, rtol=1e-6)
