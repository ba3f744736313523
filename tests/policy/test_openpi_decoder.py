"""A policy that decodes as openpi does: the ids that the model writes freely, or a held chunk if they are malformed."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.types import Status
from inspire_fast.dialogue.testing import DIRECTION
from inspire_fast.models.testing import random_model
from inspire_fast.policy.openpi_decoder import OpenpiDecoder
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.policy.testing import tiny_policy
from inspire_fast.robots import ROBOTS

NATIVE = ROBOTS["libero"].fake_native()


@pytest.fixture(scope="module")
def policy() -> InspirePolicy:
    plain = tiny_policy(script="pi0_fast")
    contract = replace(plain.contract, compatibility=("openpi_decode",), max_token_len=96)
    return InspirePolicy(random_model(contract.model), contract, plain.vocabulary)


def test_random_weights_make_the_robot_hold_and_say_why(policy: InspirePolicy) -> None:
    chunk = policy.infer(NATIVE)
    assert chunk.status is Status.HELD
    assert chunk.actions is None
    assert "did not begin an action" in chunk.reason


def read(policy: InspirePolicy, *parts: list[int]):
    decoder = policy.decoder
    assert isinstance(decoder, OpenpiDecoder)
    written = np.concatenate([np.array(p, np.int32) for p in parts])
    return decoder._read(np.pad(written, (0, 256 - len(written))))


def test_what_the_model_wrote_is_read_as_openpi_reads_it(policy: InspirePolicy) -> None:
    vocabulary = policy.vocabulary
    chunk = np.random.default_rng(0).uniform(-0.5, 0.5, (10, 7))
    ids = vocabulary.action.encode(chunk)
    begin, end = vocabulary.text.encode("Action: "), vocabulary.text.encode("|", eos=True)
    actions = vocabulary.from_action(ids).tolist()
    decoded = read(policy, begin, actions, end)
    assert (decoded.action_ids, decoded.problem) == (tuple(ids), "")
    assert "did not close its action" in read(policy, begin, actions).problem
    assert "is no action id" in read(policy, begin, actions, vocabulary.text.encode(" left"), end).problem
    short = read(policy, begin, actions[:-2], end)
    assert short.problem
    assert short.action_ids == ()


def test_the_prompt_is_the_context_alone(policy: InspirePolicy) -> None:
    decoder = policy.decoder
    assert isinstance(decoder, OpenpiDecoder)
    fields = policy.inputs.prompt_fields(policy.robot.canonical(NATIVE), ())
    text = policy.vocabulary.text.decode(decoder._context(decoder.plan(fields)).tolist())
    assert text.startswith("Task: put the red block on the plate, State:")
    assert "Action" not in text
    long = {**NATIVE, "prompt": "put the red block " * 30}
    with pytest.raises(ValueError, match="the checkpoint takes 96"):
        policy.infer(long)


def test_it_is_for_plain_pi0_fast_only(policy: InspirePolicy) -> None:
    asking = tiny_policy(script="inspire")
    with pytest.raises(ValueError, match="asks questions"):
        InspirePolicy(
            random_model(asking.contract.model),
            replace(asking.contract, compatibility=("openpi_decode",)),
            asking.vocabulary,
        )
    with pytest.raises(ValueError, match="asks nothing"):
        policy.infer(NATIVE, RequestOptions(mode="force", answers=(DIRECTION.answers[0],)))


def test_sampling_is_repeatable_and_follows_the_seed(policy: InspirePolicy) -> None:
    decoder = policy.decoder
    fields = policy.inputs.prompt_fields(policy.robot.canonical(NATIVE), ())
    images = {k: np.stack([v]) for k, v in policy.inputs.images(policy.robot.canonical(NATIVE)).items()}
    written = []
    decoder_read = decoder._read  # pyright: ignore[reportAttributeAccessIssue]
    decoder._read = lambda row: written.append(row) or decoder_read(row)  # pyright: ignore[reportAttributeAccessIssue]
    for seed in (1, 1, 2):
        decoder.decode(images, [decoder.plan(fields)], [RequestOptions(temperature=1.0, seed=seed)])
    np.testing.assert_array_equal(written[0], written[1])
    assert (written[0] != written[2]).any()
    assert jnp.asarray(written[0]).shape == (256,)


def test_each_row_has_its_own_picture(policy: InspirePolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = policy.decoder
    observation = policy.robot.canonical(NATIVE)
    row = decoder.plan(policy.inputs.prompt_fields(observation, ()))
    images = {k: np.stack([v, 255 - v, v // 2]) for k, v in policy.inputs.images(observation).items()}
    seen = []
    monkeypatch.setattr(decoder, "_decode_one", lambda images, row, options: seen.append(images))
    decoder.decode(images, [row] * 3)
    assert len(seen) == 3
    for number, one in enumerate(seen):
        for camera, picture in one.items():
            np.testing.assert_array_equal(picture, images[camera][number : number + 1])


def test_the_padding_of_the_prompt_is_not_read(policy: InspirePolicy) -> None:
    """Greedy, which is what a call without options is."""
    observation = policy.robot.canonical(NATIVE)
    fields = policy.inputs.prompt_fields(observation, ())
    images = {k: np.stack([v]) for k, v in policy.inputs.images(observation).items()}
    length = len(policy.decoder._context(policy.decoder.plan(fields)))  # pyright: ignore[reportAttributeAccessIssue]
    written = []
    for most in (length, 96):
        decoder = OpenpiDecoder(
            policy.decoder.model, policy.script, policy.vocabulary, max_token_len=most, horizon=10, action_dim=7
        )
        decoder._read = lambda row: written.append(row) or policy.decoder._read(row)  # pyright: ignore
        decoder.decode(images, [decoder.plan(fields)])
    np.testing.assert_array_equal(written[0], written[1])
    with pytest.raises(ValueError, match=f"The prompt has {length} ids; the checkpoint takes {length - 1}"):
        OpenpiDecoder(
            policy.decoder.model, policy.script, policy.vocabulary, max_token_len=length - 1, horizon=10, action_dim=7
        ).plan(fields)
