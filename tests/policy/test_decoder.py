"""The compiled dialogue against the teacher-forced network, row by row; and chunks that cannot be malformed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import jax
import numpy as np
import pytest

from inspire_fast.core.policy import RequestOptions
from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.dialogue.render import STATE_BINS, PromptFields, discretise, render
from inspire_fast.dialogue.script import SCRIPTS, Context, Script
from inspire_fast.dialogue.testing import DIRECTION, tiny_vocabulary
from inspire_fast.models.config import PRESETS, ModelConfig
from inspire_fast.models.inference.build import build
from inspire_fast.models.pi0_fast import Pi0Fast
from inspire_fast.models.testing import random_images, random_model
from inspire_fast.policy import decoder as decoder_module
from inspire_fast.policy.batching import Row
from inspire_fast.policy.compiled import Result
from inspire_fast.policy.decoder import Decoded, Decoder
from inspire_fast.robots import ROBOTS
from tests.policy.paper_network import PaperNetwork

WORDS, SHAPE = tiny_vocabulary(), {"horizon": 10, "action_dim": 7}
PROMPTS = [
    PromptFields(instruction="put the bowl on the plate", state=np.zeros(3), targets=("the bowl", "the plate")),
    PromptFields(instruction="open it", state=np.full(3, 0.5), targets=("the drawer",)),
    PromptFields(instruction="go", state=np.ones(2)),
]


SCRIPTS_TO_FILL = {
    "inspire": SCRIPTS["inspire"](DIRECTION),
    "inspire_first": SCRIPTS["inspire_first"](DIRECTION),
    "inspire_first, as released": SCRIPTS["inspire_first"](DIRECTION, released=True),
    "two questions": SCRIPTS["inspire"](DIRECTION, QUESTIONS["distance"]()),
}


@lru_cache
def decoder_of(script: str = "inspire", *, one_id_answers: bool = True, real: bool = False) -> Decoder:
    """With the network on paper, or with a real one."""
    vocabulary = tiny_vocabulary(one_id_answers=one_id_answers)
    config = replace(PRESETS["test"], vocab_size=vocabulary.size)
    model: Any = build(trained(config)) if real else PaperNetwork.of(config)
    return Decoder(model, SCRIPTS_TO_FILL[script], vocabulary, **SHAPE)


@lru_cache
def trained(config: ModelConfig) -> Pi0Fast:
    """What the real network was laid out from."""
    return random_model(config)


def plan(
    decoder: Decoder,
    prompts: Sequence[PromptFields],
    forced: Sequence[Sequence[str] | None] | None = None,
    drafts: Sequence[Sequence[str] | None] | None = None,
) -> list[Row]:
    rows = [decoder.plan(fields, None if forced is None else forced[n]) for n, fields in enumerate(prompts)]
    drafted = zip(rows, drafts or [None] * len(rows), strict=True)
    return [row if draft is None else row.with_answers(draft, trusted=False) for row, draft in drafted]


def decode(
    one: Decoder,
    prompts: list[PromptFields],
    options: Sequence[RequestOptions] | RequestOptions | None = None,
    *,
    forced: Sequence[Sequence[str] | None] | None = None,
    drafts: Sequence[Sequence[str] | None] | None = None,
    **others: Any,
) -> list[Decoded]:
    images = random_images(one.model.config, len(prompts))
    # The first camera of the second row is masked: the cache must cope.
    shown = {
        name: np.arange(len(prompts)) != 1 if n == 0 else np.ones(len(prompts), bool) for n, name in enumerate(images)
    }
    each = [options] * len(prompts) if isinstance(options, RequestOptions) else options
    return one.decode(images, plan(one, prompts, forced, drafts), each, image_mask=shown, **others)


LONGEST = 320
full_logits = jax.jit(lambda m, *args: m.logits(m(*args)))


def log_softmax(x: np.ndarray) -> np.ndarray:
    return x - np.log(np.exp(x - x.max()).sum()) - x.max()


def teacher_forced(one: Decoder, row: int, decoded: Decoded) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ids, segments, logits) of the finished dialogue of one row."""
    images = {k: v[row] for k, v in random_images(one.model.config, len(PROMPTS)).items()}
    shown = {name: row != 1 or n != 0 for n, name in enumerate(images)}
    tokens = render(
        one.script, PROMPTS[row], one.vocabulary, answers=decoded.answers, action_ids=decoded.action_ids
    ).tokens
    if isinstance(one.model, PaperNetwork):
        return tokens.ids, tokens.segment, one.model.scores(images, shown, tokens)
    n = len(tokens)
    ids, block = np.zeros((1, LONGEST), np.int32), np.full((1, LONGEST), n, np.int32)
    ids[0, :n], block[0, :n] = tokens.ids, tokens.block
    one_row = ({k: v[None] for k, v in images.items()}, {k: np.array([v]) for k, v in shown.items()})
    logits = full_logits(trained(one.model.config), *one_row, ids, np.arange(LONGEST)[None] < n, block)
    return tokens.ids, tokens.segment, np.asarray(logits)[0, :n]


@pytest.mark.parametrize(
    ("one_id_answers", "real"),
    [(True, False), (False, False), (False, True), pytest.param(True, True, marks=pytest.mark.slow)],
)
def test_every_choice_is_the_teacher_forced_one(one_id_answers: bool, real: bool) -> None:
    one = decoder_of(one_id_answers=one_id_answers, real=real)
    assert (one.answers["direction"].depth == 1) == one_id_answers
    for row, decoded in enumerate(decode(one, PROMPTS)):
        ids, segment, logits = teacher_forced(one, row, decoded)
        pieces = render(one.script, PROMPTS[row], one.vocabulary).pieces
        slots = [i for i, p in enumerate(pieces) if p.kind == "answer"]
        answers = one.answers["direction"]
        for slot, answer, probability in zip(slots, decoded.answers, decoded.answer_probabilities, strict=True):
            at = np.flatnonzero(segment == slot)
            state, log_p = 0, 0.0
            for position in at:
                following = answers.grammar.next_state[state]
                allowed = np.where(following >= 0, logits[position - 1][answers.ids], -np.inf)
                symbol = int(np.argmax(allowed))
                assert answers.ids[symbol] == ids[position]
                log_p += float(log_softmax(allowed)[symbol])
                state = following[symbol]
            assert answer in DIRECTION.answers
            np.testing.assert_allclose(probability, np.exp(log_p), rtol=1e-4)
        assert_actions_greedy(one, decoded, logits, np.flatnonzero(segment == len(pieces) - 1))


def assert_actions_greedy(one: Decoder, decoded: Decoded, logits: np.ndarray, at: np.ndarray) -> None:
    grammar = one.vocabulary.action.grammar(10, 7)
    action_ids = one.vocabulary.from_action(np.arange(one.vocabulary.action.vocab_size))
    state, owed, total = grammar.start, grammar.owed, 0.0
    for position, chosen in zip(at, decoded.action_ids, strict=False):
        allowed = np.where(grammar.allowed(state, owed), logits[position - 1][action_ids], -np.inf)
        assert int(np.argmax(allowed)) == chosen
        total += float(log_softmax(allowed)[chosen])
        state, owed = grammar.advance(state, owed, chosen)
    assert grammar.done(state, owed)
    np.testing.assert_allclose(decoded.action_log_probability, total, rtol=1e-4)


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    one = decoder_of()
    images, rows = random_images(one.model.config, len(PROMPTS)), plan(one, PROMPTS)
    together = one.decode(images, rows)
    padded = replace(one.size_of(rows), rows=1)  # the other two share a program; the first has one of its own
    for row, size in enumerate((None, padded, padded)):
        own = {k: v[row : row + 1] for k, v in images.items()}
        alone = one.decode(own, rows[row : row + 1], size=size)[0]
        assert alone.answers == together[row].answers
        assert alone.action_ids == together[row].action_ids


def test_a_row_in_the_program_of_four_says_the_same() -> None:
    one = decoder_of()
    images, rows = random_images(one.model.config, 1), plan(one, PROMPTS[:1])
    padded = one.decode(images, rows, size=replace(one.size_of(rows), rows=4))
    assert padded == [
        replace(d, action_log_probability=padded[0].action_log_probability) for d in one.decode(images, rows)
    ]


def test_what_was_not_written_is_minus_one_and_reading_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    one, results = decoder_of(one_id_answers=False), list[Result]()
    program = one._run
    monkeypatch.setattr(one, "_run", lambda *arguments: results.append(program(*arguments)) or results[-1])
    decoded = decode(one, PROMPTS)
    (result,) = results
    assert result.steps == max(len(row.action_ids) for row in decoded) - 1  # the first id needs no reading
    for written in (result.symbols, result.actions):
        assert set(written[written < 0].tolist()) == {-1}


def test_probabilities_of_all_answers_add_up_to_one() -> None:
    """Words of several ids: each id's probability is given the ids before it."""
    one = decoder_of(one_id_answers=False)
    images, row = random_images(one.model.config, 1), plan(one, PROMPTS[1:2])[0]
    total = 0.0
    for answer in DIRECTION.answers:
        (maps,) = one.answer_maps(images, [row.with_answers([answer], trusted=False)])
        symbols = one.answers["direction"].symbols(answer)
        assert maps[0].shape == (len(symbols), len(one.answers["direction"].ids))
        total += float(np.prod([shares[symbol] for shares, symbol in zip(maps[0], symbols, strict=True)]))
    assert total == pytest.approx(1, rel=1e-5)


def test_forced_answers_are_what_the_actions_follow() -> None:
    one = decoder_of(one_id_answers=False)
    forced = [["left", "grasped"], ["up"], []]
    for row, decoded in enumerate(decode(one, PROMPTS, forced=forced)):
        assert list(decoded.answers) == forced[row]
        assert decoded.answer_probabilities == (1.0,) * len(forced[row])
        _, segment, logits = teacher_forced(one, row, decoded)
        assert_actions_greedy(one, decoded, logits, np.flatnonzero(segment == segment.max()))


def test_free_answers_forced_back_change_nothing() -> None:
    one = decoder_of()
    free = decode(one, PROMPTS)
    again = decode(one, PROMPTS, forced=[row.answers for row in free])
    assert [row.action_ids for row in again] == [row.action_ids for row in free]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), temperature=st.sampled_from([0.0, 1.0, 3.0]))
def test_chunks_of_random_weights_are_well_formed(seed: int, temperature: float) -> None:
    one = decoder_of()
    grammar = one.vocabulary.action.grammar(10, 7)
    prompts = [replace(PROMPTS[0], state=np.full(3, s)) for s in np.linspace(-1, 1, 16)]
    images = random_images(one.model.config, 16, seed)
    options = [RequestOptions(temperature=temperature, seed=seed)] * 16
    for row in one.decode(images, plan(one, prompts), options):
        assert grammar.accepts(row.action_ids)
        assert np.isfinite(one.vocabulary.action.decode(list(row.action_ids), 10, 7)).all()


def test_sampling_follows_each_rows_own_seed_and_temperature() -> None:
    one = decoder_of()
    warm = [RequestOptions(temperature=2.0, seed=seed) for seed in (3, 4)]
    mixed = decode(one, PROMPTS, [warm[0], RequestOptions(seed=3), warm[1]])
    greedy, first, other = decode(one, PROMPTS), *(decode(one, PROMPTS, options) for options in warm)
    expected = (first[0].action_ids, greedy[1].action_ids, other[2].action_ids)
    assert tuple(row.action_ids for row in mixed) == expected
    assert first[0].action_ids != other[0].action_ids


def test_the_likeliest_one_of_top_k_is_greedy_and_more_stay_among_the_likeliest() -> None:
    one = decoder_of()
    greedy, first = decode(one, PROMPTS), decode(one, PROMPTS, RequestOptions(temperature=5.0, top_k=1, seed=1))
    assert [row.action_ids for row in first] == [row.action_ids for row in greedy]
    drawn = decode(one, PROMPTS, RequestOptions(temperature=50.0, top_k=2, seed=2))[0]
    _, segment, logits = teacher_forced(one, 0, drawn)
    grammar = one.vocabulary.action.grammar(10, 7)
    state, owed = grammar.start, grammar.owed
    action_ids = one.vocabulary.from_action(np.arange(one.vocabulary.action.vocab_size))
    ranks = []
    for position, chosen in zip(np.flatnonzero(segment == segment.max()), drawn.action_ids, strict=False):
        allowed = np.where(grammar.allowed(state, owed), logits[position - 1][action_ids], -np.inf)
        ranks.append(int((allowed > allowed[chosen]).sum()))
        state, owed = grammar.advance(state, owed, chosen)
    assert set(ranks) == {0, 1}


# Each compiles programs of its own, but for the released variant.
@pytest.mark.parametrize(
    ("script", "one_id_answers"),
    [
        ("inspire_first", True),
        ("inspire_first, as released", True),
        ("inspire", False),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("inspire", True), ("inspire_first", False))),
        *(pytest.param("two questions", one, marks=pytest.mark.slow) for one in (True, False)),
    ],
)
@settings(max_examples=8)
@given(data=st.data())
def test_a_draft_changes_nothing_that_is_said(script: str, one_id_answers: bool, data: st.DataObject) -> None:
    decoder = decoder_of(script, one_id_answers=one_id_answers)
    images = random_images(decoder.model.config, 2, data.draw(st.integers(0, 3)))
    prompts = PROMPTS[:2]
    rows = plan(decoder, prompts)
    plain = decoder.decode(images, rows, size=replace(decoder.size_of(rows), prompt=144))  # one size: few programs
    questions = decoder.script.questions

    def draft(row: int) -> tuple[str, ...] | None:
        """None, or answers of which any may be right."""
        right = plain[row].answers
        others = [data.draw(st.sampled_from(questions[n % len(questions)].answers)) for n in range(len(right))]
        keep = data.draw(st.lists(st.booleans(), min_size=len(right), max_size=len(right)))
        mixed = tuple(r if k else o for r, o, k in zip(right, others, keep, strict=True))
        return data.draw(st.sampled_from([mixed, right, None]))

    drafts = [draft(row) for row in range(2)]
    rows = plan(decoder, prompts, drafts=drafts)
    size = decoder.size_of(rows)
    again = decoder.decode(images, rows, size=replace(size, prompt=max(size.prompt, 144)))
    for one, drafted, said in zip(plain, drafts, again, strict=True):
        assert said.answers == one.answers
        assert said.action_ids == one.action_ids
        np.testing.assert_allclose(said.answer_probabilities, one.answer_probabilities, rtol=1e-4)
        np.testing.assert_allclose(said.action_log_probability, one.action_log_probability, rtol=1e-4)
        same = [d == a for d, a in zip(drafted or (), one.answers, strict=False)]
        assert said.accepted == (same.index(False) if False in same else len(same))


def test_forced_free_and_drafted_rows_share_a_call() -> None:
    one = decoder_of()
    free = decode(one, PROMPTS)
    forced = [("left", "grasped"), None, None]
    mixed = decode(one, PROMPTS, forced=forced, drafts=[None, free[1].answers, None])
    alone = decode(one, PROMPTS, forced=[("left", "grasped"), ("up",), ()])
    assert mixed[0] == replace(alone[0], action_log_probability=mixed[0].action_log_probability)
    assert [row.action_ids for row in mixed[1:]] == [row.action_ids for row in free[1:]]
    assert mixed[0].answer_probabilities == (1.0, 1.0)


def test_given_actions_are_written_and_scored() -> None:
    one = decoder_of()
    greedy = decode(one, PROMPTS)
    drawn = decode(one, PROMPTS, RequestOptions(temperature=2.0, seed=5))
    scored = decode(one, PROMPTS, actions=[drawn[0].action_ids, None, drawn[2].action_ids[:3]])
    assert scored[0].action_ids == drawn[0].action_ids != greedy[0].action_ids
    np.testing.assert_allclose(scored[0].action_log_probability, drawn[0].action_log_probability, rtol=1e-4)
    assert scored[1].action_ids == greedy[1].action_ids
    assert scored[2].action_ids[:3] == drawn[2].action_ids[:3]
    with pytest.raises(ValueError, match=f"place {len(greedy[0].action_ids)} is unknown, or comes after a complete"):
        decode(one, PROMPTS, actions=[(*greedy[0].action_ids, 0), None, None])


def test_a_constant_camera_is_what_its_image_is() -> None:
    one = decoder_of()
    model, name = one.model, one.cameras[0]
    black = np.zeros((*model.config.image_hw, 3), np.uint8)
    decoder = Decoder(model, one.script, one.vocabulary, horizon=10, action_dim=7, constant={name: black})
    images = random_images(model.config, 1)
    assert decoder.cameras == tuple(c for c in model.config.cameras if c != name)
    seen = one.decode({**images, name: black[None]}, plan(decoder, PROMPTS[:1]))[0]
    known = decoder.decode({c: images[c] for c in decoder.cameras}, plan(decoder, PROMPTS[:1]))[0]
    assert (known.answers, known.action_ids) == (seen.answers, seen.action_ids)
    with pytest.raises(ValueError, match="The network has no cameras"):
        Decoder(model, one.script, one.vocabulary, horizon=10, action_dim=7, constant={"chest": black})


def programs() -> int:
    """How many JAX has compiled of the dialogue."""
    return decoder_module.run._cache_size()  # pyright: ignore[reportAttributeAccessIssue]


def test_nothing_compiles_in_a_control_loop_behind_the_warm_up() -> None:
    """Whatever the state is, and whether drafts hold or not."""
    one = decoder_of()
    decoder = Decoder(one.model, one.script, one.vocabulary, horizon=10, action_dim=7)
    fields, rng = replace(PROMPTS[1], state=np.zeros(4)), np.random.default_rng(0)
    known = decoder.warm_up([fields])
    assert known > 1
    compiled = programs()
    images = random_images(one.model.config, 1)
    for scale in (0.01, 0.3, 1.0, 3.0):
        for draft in ("left", "up"):
            state = np.clip(rng.normal(size=4) * scale, -1, 1)
            decoder.decode(images, plan(decoder, [replace(fields, state=state)], drafts=[(draft,)]))
    assert decoder.programs == known
    assert programs() == compiled


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> set[tuple[object, ...]]:
    """Shapes that JAX would compile a program for; no program runs. Free answers are the first allowed ones."""
    met: set[tuple[object, ...]] = set()

    def program(*arguments: Any) -> Result:
        _, images, _, mask, layout, words, _, sampling = arguments
        arrays = jax.tree.leaves((images, mask, layout, sampling))
        met.add((layout.room, *(leaf.shape for leaf in arrays)))
        symbols, slots = layout.slots.drafted.copy(), layout.slots
        for slot, row in np.argwhere(slots.active & ~layout.filled):
            state, depth = slots.begin[slot, row], 0
            while not words.accepting[state]:
                symbols[slot, row, depth] = np.argmax(words.next_state[state] >= 0)
                state, depth = words.next_state[state, symbols[slot, row, depth]], depth + 1
        none = np.zeros(symbols.shape[:2])
        steps = np.zeros(layout.lengths.shape)
        return Result(
            symbols=symbols,
            log_probability=none,
            accepted=none > 0,
            actions=np.full_like(sampling.forced, -1),
            action_log_probability=steps,
            steps=steps[0],
        )  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(decoder_module, "run", program)
    return met


@pytest.mark.parametrize("speculate", [True, False], ids=["drafts", "no drafts"])
def test_no_answer_and_no_mixture_of_rows_meets_an_uncompiled_program(
    shapes: set[tuple[object, ...]], speculate: bool
) -> None:
    question = QUESTIONS["direction_3d"](axes=ROBOTS["libero"].axes)
    model, vocabulary = decoder_of("inspire_first").model, tiny_vocabulary(one_id_answers=False)
    decoder = Decoder(model, SCRIPTS["inspire"](question), vocabulary, horizon=10, action_dim=7)
    prompts = [replace(fields, state=np.zeros(8)) for fields in PROMPTS]
    decoder.warm_up(prompts, rows=(1, 2, 4), speculate=speculate)
    compiled, rng = set(shapes), np.random.default_rng(0)
    own = decoder.answers["direction_3d"]
    by_length = {len(own.symbols(answer)): answer for answer in question.answers}
    assert len(by_length) > 3

    def row(fields: PromptFields, answers: Sequence[str] | None, scale: float) -> Row:
        planned = decoder.plan(replace(fields, state=rng.normal(size=8) * scale))
        return planned if answers is None else planned.with_answers(answers, trusted=bool(rng.integers(2)))

    met: set[int] = set()
    for first, second in itertools.product(by_length.values(), repeat=2):
        scale = rng.choice((0.1, 2.0))
        rows = [row(prompts[0], (first, second), scale), row(prompts[1], (second,), scale), row(prompts[2], (), 1)]
        if not speculate:
            rows.append(row(prompts[0], None, scale))
        for call in ([rows[0]], [rows[1]], [rows[-1]], rows[:2], rows[1:], rows):
            decoder.decode(random_images(model.config, len(call)), call)
            met.add(decoder.size_of(call).prompt)
    assert shapes == compiled
    assert len(met) > 2


def test_calls_are_padded_to_the_smallest_compiled_shape_that_holds_them() -> None:
    decoder = Decoder(decoder_of("inspire_first").model, SCRIPTS_TO_FILL["inspire_first"], WORDS, **SHAPE)
    rows = plan(decoder, PROMPTS[:1])
    own = decoder.size_of(rows)
    larger, largest = replace(own, prompt=own.prompt + 8), replace(own, prompt=own.prompt + 64, slots=4)
    for warm, chosen in (
        ({replace(largest, room=own.room - 1)}, own),  # too small: this call compiles its own
        ({largest}, largest),
        ({largest, larger, replace(larger, rows=2)}, larger),
        ({largest, larger, own}, own),
    ):
        decoder._warm = warm
        assert decoder.size_of(rows) == chosen
        assert len(decoder.lay_out(rows).slots.active) == chosen.slots


def test_states_with_the_shortest_and_the_longest_text() -> None:
    """The warm-up compiles for both, so that no state in between needs another program."""
    one = decoder_of()
    text = one.vocabulary.text
    lengths = [len(text.encode(f" {number}")) for number in range(-1, STATE_BINS)]
    ends = [len(text.encode(" " + discretise(np.array([value])))) for value in one._state_ends()]
    assert ends == [min(lengths), max(lengths)]
    assert ends[0] < ends[1]


def test_what_cannot_work_is_refused_at_construction() -> None:
    vocabulary = tiny_vocabulary()
    model: Any = PaperNetwork.of(replace(PRESETS["test"], vocab_size=vocabulary.size))
    mute = Script(name="mute", segments=(Context(text="Task: {instruction}"),))
    with pytest.raises(ValueError, match="neither asks nor acts"):
        Decoder(model, mute, vocabulary, horizon=10, action_dim=7)
    for size in (400, vocabulary.size + 1):
        other: Any = PaperNetwork.of(replace(PRESETS["test"], vocab_size=size))
        with pytest.raises(ValueError, match=f"{other.config.vocab_size} ids, the tokenizers make {vocabulary.size}"):
            Decoder(other, SCRIPTS["inspire"](DIRECTION), vocabulary, horizon=10, action_dim=7)
    assert Decoder(model, SCRIPTS["inspire"](*[DIRECTION] * 4, max_targets=4), vocabulary, **SHAPE).programs == 0
    many = SCRIPTS["inspire"](*[DIRECTION] * 6, max_targets=3)
    with pytest.raises(ValueError, match=r"18 or more in all; the largest bucket holds 16. Lower max_targets"):
        Decoder(model, many, vocabulary, horizon=10, action_dim=7)


def test_refusals_in_a_call() -> None:
    one = decoder_of()
    with pytest.raises(ValueError, match="1 forced answers for 2 questions"):
        decode(one, PROMPTS, forced=[["left"], ["up"], []])
    with pytest.raises(ValueError, match="not an allowed answer; allowed: right"):
        decode(one, PROMPTS, forced=[["left", "yonder"], ["up"], []])
    with pytest.raises(ValueError, match="1 drafted answers for 2 questions"):
        decode(one, PROMPTS, drafts=[["left"], None, None])
    with pytest.raises(ValueError, match="2 options for 3 rows"):
        decode(one, PROMPTS, [RequestOptions()] * 2)
    for values in ({"temperature": -1.0}, {"temperature": float("nan")}, {"top_k": -1}, {"seed": -1}, {"seed": 2**32}):
        with pytest.raises(ValueError, match=rf"{next(iter(values))} must be a (whole )?number, at least 0"):
            RequestOptions(**values)
    many = replace(PROMPTS[0], targets=tuple(f"thing {n}" for n in range(17)))
    with pytest.raises(ValueError, match="17 questions exceed"):
        decode(one, [many])
