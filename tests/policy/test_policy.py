from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
import itertools
import json
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.core.policy import Policy, RequestOptions
from inspire_fast.core.types import Status
from inspire_fast.dialogue import render
from inspire_fast.dialogue.testing import DIRECTION
from inspire_fast.policy import decoder
from inspire_fast.policy.answer_cache import RecentAnswers
from inspire_fast.policy.policy import InspirePolicy, ServingOptions
from inspire_fast.policy.seeds import NoiseSeeds
from inspire_fast.policy.testing import tiny_policy
from inspire_fast.robots import ROBOTS
from tests.policy.paper_network import PaperNetwork


@pytest.fixture(scope="module", autouse=True)
def on_paper() -> Iterator[None]:
    """What a policy does around its network does not depend on which one it is; the real one has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("inspire_fast.policy.policy.build", lambda model, **_: PaperNetwork.of(model.config))
        yield


@pytest.fixture(scope="module")
def policy(on_paper: None) -> InspirePolicy:
    return tiny_policy()


NATIVE = ROBOTS["libero"].fake_native()


def test_a_chunk_with_its_answers(policy: InspirePolicy) -> None:
    chunk = policy.infer(NATIVE)
    assert isinstance(policy, Policy)
    assert chunk.status is Status.OK
    assert chunk.actions is not None
    assert chunk.actions.shape == (10, 7)
    assert np.abs(chunk.actions).max() <= 1
    assert [a.target for a in chunk.answers] == ["the red block", "the plate"]
    assert all(0 < a.probability <= 1 for a in chunk.answers)


def test_a_request_is_unrolled_and_laid_out_once(policy: InspirePolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: Counter[str] = Counter()

    def count(module: ModuleType, name: str) -> None:
        call = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **options: counts.update([name]) or call(*args, **options))

    count(render, "unroll")
    count(decoder, "lay_out")
    kept = RequestOptions(reask_every=2, session="laid out once")
    for options in (RequestOptions(), RequestOptions(mode="force", answers=["left", "up"]), kept, kept):
        counts.clear()
        policy.infer(NATIVE, options)
        assert counts == {"unroll": 1, "lay_out": 1}


def test_options(policy: InspirePolicy) -> None:
    assert policy.infer(NATIVE, RequestOptions(mode="skip")).answers == ()
    named = policy.infer(NATIVE, RequestOptions(targets=["the sink"]))
    assert [a.target for a in named.answers] == ["the sink"]
    forced = policy.infer(NATIVE, RequestOptions(mode="force", answers=["left", "grasped"]))
    assert [(a.answer, a.probability) for a in forced.answers] == [("left", 1.0), ("grasped", 1.0)]


def test_answers_are_asked_for_on_every_nth_call_and_kept_between(policy: InspirePolicy) -> None:
    options = RequestOptions(reask_every=3, session="a")
    natives = [ROBOTS["libero"].fake_native(seed=n) | {"prompt": NATIVE["prompt"]} for n in range(4)]
    free = [policy.infer(native) for native in natives]
    kept = [policy.infer(native, options) for native in natives]
    assert kept[0].answers == kept[1].answers == kept[2].answers
    assert [a.answer for a in kept[3].answers] == [a.answer for a in free[3].answers]
    forced = policy.infer(natives[1], RequestOptions(mode="force", answers=[a.answer for a in free[0].answers]))
    np.testing.assert_array_equal(kept[1].actions, forced.actions)
    # They are kept as they are, also where the model would now say something else.
    targets = [a.target for a in free[1].answers]
    unlike = [next(word for word in DIRECTION.answers if word != a.answer) for a in free[1].answers]
    policy.recent.asked("c", targets, unlike, (0.5,) * len(unlike))
    assert [a.answer for a in policy.infer(natives[1], replace(options, session="c")).answers] == unlike
    # Another robot's answers are never taken over.
    other = policy.infer(natives[1], replace(options, session="b"))
    assert [a.answer for a in other.answers] == [a.answer for a in free[1].answers]


def test_the_last_calls_answers_are_drafted(policy: InspirePolicy) -> None:
    session, targets = "drafts", ("the red block", "the plate")
    assert policy.recent.draft(session, targets) == (DIRECTION.answers[0],) * 2
    said = policy.infer(NATIVE, RequestOptions(session=session))
    assert policy.recent.draft(session, targets) == tuple(a.answer for a in said.answers)
    again = policy.infer(NATIVE, RequestOptions(session=session))
    assert [a.answer for a in again.answers] == [a.answer for a in said.answers]
    np.testing.assert_array_equal(again.actions, said.actions)
    plain = tiny_policy(serving=ServingOptions(speculate=False)).infer(NATIVE)
    assert [a.answer for a in plain.answers] == [a.answer for a in said.answers]
    np.testing.assert_array_equal(plain.actions, said.actions)


def test_sessions_that_fell_silent_are_forgotten() -> None:
    recent = RecentAnswers(tiny_policy().script, sessions=2)
    for name in ("a", "b", "a", "c"):
        recent.asked(name, ("x",), ("left",), (1.0,))
    assert [recent.draft(name, ("x",)) for name in ("a", "b", "c")] == [("left",), ("right",), ("left",)]


def test_kept_answers_serve_all_calls_but_every_nth() -> None:
    recent = RecentAnswers(tiny_policy().script)
    recent.used("a", ("x",))  # nothing is known of it
    assert recent.kept("a", ("x",), 3) is None
    for _ in range(2):
        recent.asked("a", ("x",), ("left",), (0.5,))
        for reused in range(2):
            cached = recent.kept("a", ("x",), 3)
            assert cached is not None
            assert (cached.answers, cached.probabilities, cached.kept) == (("left",), (0.5,), reused)
            recent.used("a", ("x",))
        assert recent.kept("a", ("x",), 3) is None
    assert recent.kept("a", ("y",), 3) is recent.kept("b", ("x",), 3) is None


def test_seeds_are_counted_from_somewhere_and_come_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inspire_fast.policy.seeds.secrets.randbelow", lambda bound: bound - 1)
    seeds = NoiseSeeds()
    assert [seeds.of(RequestOptions(seed=seed)) for seed in (None, 7, None, 0, None)] == [2**32 - 1, 7, 0, 0, 1]


def test_times_are_milliseconds_of_preparing_and_inferring(
    policy: InspirePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(100)  # a quarter of a second passes from one look at the clock to the next
    monkeypatch.setattr("inspire_fast.policy.policy.time", SimpleNamespace(perf_counter=lambda: next(clock) / 4))
    assert policy.infer(NATIVE, RequestOptions(mode="skip")).timing_ms == {"prepare_ms": 250, "infer_ms": 250}


def test_a_camera_that_the_robot_lacks_is_embedded_once(policy: InspirePolicy) -> None:
    three = tiny_policy(cameras=("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb"))
    assert three.decoder.cameras == policy.decoder.cameras == ("base_0_rgb", "left_wrist_0_rgb")
    assert three.infer(NATIVE).status is Status.OK


TWO = [ROBOTS["libero"].fake_native(seed) | {"prompt": p} for seed, p in enumerate(["open the drawer", "put a on b"])]


def test_no_two_calls_sessions_or_rows_share_their_noise_and_a_seed_repeats_it(policy: InspirePolicy) -> None:
    hot = RequestOptions(temperature=3.0, mode="skip")
    robots = [replace(hot, session="left arm"), replace(hot, session="right arm")]
    drawn = [chunk for _ in range(3) for chunk in policy.infer_batch([NATIVE, NATIVE], robots)]
    drawn += [policy.infer(NATIVE, robot) for robot in robots for _ in range(3)]
    assert len({np.asarray(chunk.actions).tobytes() for chunk in drawn}) == 12
    for other in (policy, tiny_policy()):  # another process, too
        first, second, third = (other.infer(NATIVE, replace(robots[n % 2], seed=3)) for n in range(3))
        np.testing.assert_array_equal(first.actions, second.actions)
        np.testing.assert_array_equal(first.actions, third.actions)
        drawn.append(first)
    assert len({np.asarray(chunk.actions).tobytes() for chunk in drawn}) == 13


def test_a_batch_equals_its_rows(policy: InspirePolicy) -> None:
    natives, rows = TWO, [RequestOptions(temperature=1.0, seed=2), RequestOptions(mode="skip")]
    together = policy.infer_batch(natives, rows)
    for native, options, chunk in zip(natives, rows, together, strict=True):
        alone = policy.infer(native, options)
        assert [(a.target, a.answer) for a in alone.answers] == [(a.target, a.answer) for a in chunk.answers]
        np.testing.assert_array_equal(alone.actions, chunk.actions)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observation/state": np.zeros(3, np.float32)}, "must have shape"),
        ({"observation/state": np.full(8, np.nan, np.float32)}, "NaN"),
        ({"observation/image": np.zeros((4, 4), np.uint8)}, "uint8"),
        ({"prompt": 7}, "must be text"),
        ({"prompt": "levitate"}, "Patterns tried"),
    ],
)
def test_bad_observations_say_what_is_wrong(policy: InspirePolicy, change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        policy.infer({**NATIVE, **change})


def test_a_missing_camera_is_named(policy: InspirePolicy) -> None:
    with pytest.raises(ValueError, match="observation/wrist_image"):
        policy.infer({k: v for k, v in NATIVE.items() if k != "observation/wrist_image"})


def test_metadata_is_plain_data(policy: InspirePolicy) -> None:
    assert json.loads(json.dumps(policy.metadata))["action_horizon"] == 10


def test_the_contract_survives_json_and_refuses_what_does_not_match(policy: InspirePolicy, tmp_path: Path) -> None:
    contract = policy.contract
    assert Contract.from_json(contract.to_json()).to_json() == contract.to_json()
    assert Contract.from_json(contract.to_json()).build_script() == policy.script
    policy.vocabulary.text.save(tmp_path)
    policy.vocabulary.action.save(tmp_path)
    assert contract.load_vocabulary(tmp_path).text.fingerprint == policy.vocabulary.text.fingerprint
    with pytest.raises(ValueError, match=r"text tokenizer.*hash"):
        replace(contract, text_fingerprint="0" * 64).load_vocabulary(tmp_path)
    with pytest.raises(ValueError, match="'upright' images"):
        replace(contract, image_orientation="upright")
    with pytest.raises(ValueError, match="'state' have 3 dimensions"):
        replace(contract, stats={**contract.stats, "state": {"mean": [0.0] * 3}})
    newer = {**json.loads(contract.to_json()), "format": 99, "something": "new"}
    with pytest.raises(ValueError, match=r"format 99.*Update inspire-fast"):
        Contract.from_json(json.dumps(newer))
    with pytest.raises(ValueError, match=r"'zscores'.*Did you mean 'zscore'"):
        replace(contract, normalisation="zscores")
    with pytest.raises(KeyError, match=r"openpi_decoder.*Did you mean 'openpi_decode'"):
        replace(contract, compatibility=("openpi_decoder",))
    with pytest.raises(ValueError, match="delta names 9 dimensions"):
        replace(contract, delta=(True,) * 9)
    with pytest.raises(ValueError, match="delta names 8 dimensions"):  # `delta_actions` would refuse every chunk
        replace(contract, delta=(True,) * 6 + (False,) * 2)
    with pytest.raises(ValueError, match="no quantiles"):
        replace(contract, stats={k: {**v, "q01": None, "q99": None} for k, v in contract.stats.items()})
    assert contract.differences(Contract.from_json(contract.to_json())) == []
    assert contract.differences(replace(contract, horizon=5)) == ["horizon: 10 and 5"]
    with pytest.raises(FileNotFoundError, match="imported first"):
        Contract.read(tmp_path)


def test_a_contract_that_cannot_be_read_says_why(policy: InspirePolicy, tmp_path: Path) -> None:
    good = json.loads(policy.contract.to_json())
    file = tmp_path / "contract.json"
    for content, words in (
        ("", "is not JSON, or cut off"),
        (policy.contract.to_json()[:200], "is not JSON, or cut off"),
        ("[]", "no contract: .* got a list"),
        ({"robot": "libero"}, r"the number `format`, got the fields \['robot'\]"),
        ({**good, "format": 1}, "format 1 and was written by an earlier version"),
        ({**good, "format": 99}, "format 99.*Update inspire-fast"),
        ({k: v for k, v in good.items() if k not in ("model", "robot")}, "missing: model, robot"),
        ({**good, "colour": 3, "stats": None}, "unknown: colour; null: stats"),
        ({**good, "model": {}}, "cannot be used: vision"),
        ({**good, "model": 3}, "cannot be used"),
        ({**good, "stats": {"state": None}}, "cannot be used"),
        ({**good, "robot": "liberro"}, "Did you mean 'libero'"),
        ({**good, "image_orientation": "upright"}, "'upright' images"),
    ):
        file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        with pytest.raises(ValueError, match=words) as caught:
            Contract.read(tmp_path)
        assert str(file) in str(caught.value)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not JSON"):
        Contract.read(tmp_path)
