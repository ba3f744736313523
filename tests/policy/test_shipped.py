"""Checkpoints that come with the package: whole, small, with a card; the grounding network answers and does not act."""

import json
from pathlib import Path
import shutil

import numpy as np
import pytest

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.checkpoints.remote import SHIPPED
from inspire_fast.core.types import Status
from inspire_fast.dialogue.locations import place_of
from inspire_fast.policy.load import load_policy, open_checkpoint
from inspire_fast.robots import ROBOTS


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_checkpoint_is_whole(name: str) -> None:
    folder = SHIPPED[name]
    assert (folder / "README.md").read_text(encoding="utf-8").startswith(f"# Model card: {name}\n")
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 10 << 20
    contract = Contract.read(folder / "assets")
    assert contract.load_vocabulary(folder / "assets").size == contract.model.vocab_size


def test_training_means_of_the_grounding_network() -> None:
    means = json.loads((SHIPPED["st4vla_ground"] / "training_means.json").read_text(encoding="utf-8"))
    assert np.shape(means["point"]["the basket"]) == (2,)
    assert np.shape(means["box"]["the basket"]) == (4,)
    assert np.shape(means["trace"][""]) == (8, 2)


@pytest.mark.slow
def test_the_grounding_network_answers_and_does_not_act() -> None:
    policy = load_policy("st4vla_ground")
    native = ROBOTS["libero"].fake_native() | {"prompt": "pick up the ketchup and place it in the basket"}
    chunk = policy.infer(native)
    assert (chunk.status, chunk.actions) == (Status.HELD, None)
    asked = [(answer.question, answer.target) for answer in chunk.answers]
    targets = ("the ketchup", "the basket")
    assert asked == [(q, target) for target in targets for q in ("point", "box")] + [("trace", "")]
    places = [place_of(answer.question, answer.answer, 128) for answer in chunk.answers]
    assert [place is not None and place.shape for place in places] == [(2,), (4,), (2,), (4,), (8, 2)]


def test_a_folder_comes_before_a_checkpoint_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_checkpoint("inspire_acting") as step:
        assert step == SHIPPED["inspire_acting"]
    shutil.copytree(SHIPPED["st4vla_ground"], tmp_path / "inspire_acting")
    with open_checkpoint("inspire_acting") as step:
        assert step.resolve() == tmp_path / "inspire_acting"
