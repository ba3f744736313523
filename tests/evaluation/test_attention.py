"""Attention of answers over the image, of a tiny network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
import pytest

from inspire_fast.dialogue.render import render
from inspire_fast.evaluation.records.attention import AttentionProbe, asking_positions, draw_attention
from inspire_fast.evaluation.records.attention_files import read_attention_images
from inspire_fast.evaluation.records.observations import load_observations, observations_file, save_observations
from inspire_fast.evaluation.records.records import AnswerRecord
from inspire_fast.models.testing import random_model
from inspire_fast.policy.testing import tiny_policy, write_checkpoint
from inspire_fast.robots import ROBOTS
from tests.evaluation.test_accuracy import call, episode

LIBERO = ROBOTS["libero"]
NATIVE = {**LIBERO.fake_native(), "prompt": "put the bowl on the plate"}


def answer(target: str, word: str) -> AnswerRecord:
    return AnswerRecord(question="direction", asked="?", target=target, answer=word, probability=0.5, truth=None)


ANSWERS = (answer("the bowl", "left"), answer("the plate", "up"))


@pytest.fixture(scope="module")
def probe() -> AttentionProbe:
    policy = tiny_policy()
    model = random_model(policy.contract.model, 0)
    return AttentionProbe(model, policy.contract, policy.vocabulary)


def test_a_checkpoint_is_found_as_load_policy_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy()
    write_checkpoint(policy, tmp_path / "bucket/run" / "3")
    monkeypatch.setenv("OPENPI_DATA_HOME", str(tmp_path))
    for checkpoint in ("gs://bucket/run", tmp_path / "bucket/run", str(tmp_path / "bucket/run/3")):
        assert AttentionProbe.load(checkpoint)._robot is LIBERO
    with pytest.raises(KeyError, match="Did you mean 'pi0_fast_libero'"):
        AttentionProbe.load("pi0_fast_lbero")


def test_answers_are_looked_at_from_where_they_are_predicted(probe: AttentionProbe) -> None:
    fields = probe._inputs.prompt_fields(LIBERO.canonical(NATIVE), ("the bowl", "the plate"))
    rendered = render(probe._script, fields, probe._vocabulary, answers=["left", "up"])
    text = probe._vocabulary.text
    following = [int(rendered.tokens.ids[place + 1]) for place in asking_positions(rendered)]
    assert following == [text.encode(" left")[0], text.encode(" up")[0]]


def test_maps_are_shares_of_attention_on_the_patch_grid(probe: AttentionProbe) -> None:
    heat = probe.maps(NATIVE, ANSWERS)
    config = probe._model.config
    rows = config.image_hw[0] // config.vision.patch
    assert heat.shape == (2, rows, rows)
    assert (heat >= 0).all()
    assert ((heat.sum(axis=(1, 2)) > 0) & (heat.sum(axis=(1, 2)) < 1)).all()
    # The first answer is predicted before it is known; the second one after.
    other = probe.maps(NATIVE, (answer("the bowl", "grasped"), ANSWERS[1]))
    np.testing.assert_allclose(other[0], heat[0], rtol=1e-5)
    assert np.abs(other[1] - heat[1]).max() > 1e-7


def test_maps_are_drawn_once_for_saved_observations(
    probe: AttentionProbe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = episode(0, True, *(replace(call("before", *ANSWERS), step=5 * n) for n in range(3)))
    save_observations(observations_file(tmp_path, record.key), [NATIVE] * 3)
    stored = load_observations(observations_file(tmp_path, record.key))
    np.testing.assert_array_equal(stored[2]["observation/image"], NATIVE["observation/image"])
    assert stored[0]["prompt"] == NATIVE["prompt"]
    assert draw_attention(probe, tmp_path, [record, episode(1, False)], every=2) == 1
    images = read_attention_images(tmp_path, record.key)
    assert [(p.step, p.target, p.answer) for p in images] == [
        (0, "the bowl", "left"),
        (0, "the plate", "up"),
        (10, "the bowl", "left"),
        (10, "the plate", "up"),
    ]
    import io

    plain, heat = (Image.open(io.BytesIO(data)) for data in (images[0].image, images[0].heat))
    assert plain.size == heat.size
    assert heat.mode == "RGBA"
    assert draw_attention(probe, tmp_path, [record], every=2) == 0
