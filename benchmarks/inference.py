"""What spatial reasoning costs when a policy acts: `uv run python benchmarks/inference.py [--quick]`.

All sides see the same two 224 px images and the same instruction, have the same random weights and write the same
forced 36 action ids (horizon 10 x 7), since random weights never end a chunk by themselves. Sides take turns, one call
each per round, in another order every time; figures are medians, ratios are medians of the ratios within a round.
docs/decoding.md explains the tables. The last line is one JSON object.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
import json
from pathlib import Path
import statistics
import sys
import time
from typing import Any, Literal, get_args
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import published_procedure as published
import tyro

from inspire_fast.core.policy import RequestOptions
from inspire_fast.dialogue.questions.direction import Direction
from inspire_fast.dialogue.render import PromptFields, render
from inspire_fast.dialogue.script import SCRIPTS
from inspire_fast.dialogue.testing import random_chunks
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.config import PRESETS, ModelConfig
from inspire_fast.models.inference.build import Weights, build
from inspire_fast.models.inference.model import InferenceModel
from inspire_fast.models.testing import random_images, random_model
from inspire_fast.policy import decoder as decoder_module
from inspire_fast.policy.batching import Row
from inspire_fast.policy.decoder import Decoded, Decoder
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.robots import ROBOTS
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer
from inspire_fast.training.datasets.sources import open_source
from inspire_fast.training.named_configs import load_config

HORIZON, ACTION_DIM, ACTION_IDS = 10, 7, 36
READS = 10  # of an array, to see how fast memory is read
DIRECTION = Direction(axes=ROBOTS["libero"].axes)
INSTRUCTIONS = {
    "put the black bowl on the plate": ("the black bowl", "the plate"),
    "open the middle drawer of the cabinet": ("the middle drawer",),
    "put both the alphabet soup and the tomato sauce in the basket": (
        "the alphabet soup",
        "the tomato sauce",
        "the basket",
    ),
    "push the plate to the front of the stove": ("the plate", "the stove"),
    "turn on the stove": ("the stove",),
    "stay where you are": (),
}
ANSWERS = ("left", "front")
Part = Literal["procedures", "questions", "chunk", "token", "batches", "weights", "trained", "well-formed"]
NOT_QUICK = {"chunk", "weights"}
TRAINABLE = {"procedures", "weights"}  # parts that need the network as trained beside the one laid out for decoding


@dataclass(frozen=True, kw_only=True)
class Args:
    """What is measured.

    Attributes:
        quick: fewer parts, rounds, sides and chunks.
        preset: the network. All parts of `gemma_2b` need a GPU; `chunk` and `token` fit into 24 GiB of memory.
        dtype: of activations and weights; None is float32 on a CPU, bfloat16 elsewhere.
        checkpoint: a trained run, for free-running decoding; `make demo` makes the default one. Left out where there is
            none.
        config: the config of that run, which names its dataset.
        chunks: how many chunks of random-weight networks are checked; None is 10,000, quick 1,280.
        parts: what is measured, in this order; None is everything, quick without `chunk` and `weights`.
        rounds: of every part that compares sides in turns; None is each part's own number.
    """

    quick: bool = False
    preset: str = "small"
    dtype: str | None = None
    checkpoint: Path = Path("runs/demo/checkpoints/demo/default")
    config: str = "demo"
    chunks: int | None = None
    parts: tuple[Part, ...] | None = None
    rounds: int | None = None


def median_ms(times: Sequence[float]) -> float:
    """Of seconds."""
    return 1e3 * statistics.median(times)


def take_turns(
    sides: Mapping[str, Callable[[], object]], rounds: int, warm: Mapping[str, Callable[[], object]] | None = None
) -> dict[str, list[float]]:
    """Seconds per side and round, behind a round that compiles (and calls `warm` where a side has one)."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    order = np.random.default_rng(0)
    for number in range(rounds + 1):
        calls = sides if number else {**sides, **(warm or {})}
        for name in order.permutation(list(calls)):
            start = time.perf_counter()
            jax.block_until_ready(calls[name]())
            if number:
                times[name].append(time.perf_counter() - start)
        sys.stderr.write(f"\rround {number}/{rounds} ")
    sys.stderr.write("\n")
    return times


def ratio(times: Mapping[str, Sequence[float]], over: str, under: str) -> float:
    """Median over the rounds of one side's time over another's."""
    return statistics.median(a / b for a, b in zip(times[over], times[under], strict=True))


def vocabulary(size: int) -> Vocabulary:
    """Small tokenizers in a vocabulary of `size`; questions are as long as in PaliGemma's: about one id per word."""
    texts = [f"Task: {i}, State: {s} {s + 1} {255 - s};\n" for i in INSTRUCTIONS for s in range(0, 250, 9)]
    texts += [f"Question: {DIRECTION.wording(t)} Answer:;\nAction: |" for ts in INSTRUCTIONS.values() for t in ts] * 4
    text = TextTokenizer.fit(texts, vocab_size=420, symbols=[" " + answer for answer in DIRECTION.answers])
    bound = int(np.ceil(20 * HORIZON**0.5))
    chunks = random_chunks(400, HORIZON, ACTION_DIM)
    action = FastTokenizer.fit(chunks, vocab_size=1024, coefficient_range=(-bound, bound))
    return Vocabulary(text=text, action=action, size=size, skip=128)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One network, one observation."""

    config: ModelConfig
    words: Vocabulary = field(repr=False)
    donate: bool = False  # the network as trained goes where the one laid out for decoding is made of it

    @cached_property
    def trained(self) -> Any:
        """Random weights in the dtype of the activations, as trained."""
        model = random_model(self.config)
        dtype = jnp.dtype(self.config.dtype)
        return jax.tree.map(lambda p: p.astype(dtype), model)

    @cached_property
    def served(self) -> InferenceModel:
        """The same, laid out for decoding."""
        return build(self.trained, dtype=self.config.dtype, donate=self.donate)

    @cached_property
    def images(self) -> dict[str, np.ndarray]:
        """One observation's."""
        return random_images(self.config, 1)

    @cached_property
    def actions(self) -> tuple[int, ...]:
        """A chunk of 36 ids."""
        chunks = random_chunks(4000, HORIZON, ACTION_DIM, seed=1) * np.linspace(0.2, 1, 4000)[:, None, None]
        lengths = {len(ids): tuple(ids) for ids in self.words.action.encode_batch(chunks)}
        if ACTION_IDS not in lengths:
            raise ValueError(f"No chunk has {ACTION_IDS} ids; there are {sorted(lengths)}.")
        return lengths[ACTION_IDS]

    def chunk_of(self, length: int) -> tuple[int, ...]:
        """A chunk of about so many ids."""
        chunks = random_chunks(4000, HORIZON, ACTION_DIM, seed=2) * np.linspace(0.05, 1, 4000)[:, None, None]
        return min(map(tuple, self.words.action.encode_batch(chunks)), key=lambda ids: abs(len(ids) - length))

    def decoder(self, script: str, model: InferenceModel | None = None) -> Decoder:
        """Of a named script, with the coarse direction as its question."""
        questions = (DIRECTION,) if script != "pi0_fast" else ()
        return Decoder(
            model or self.served, SCRIPTS[script](*questions), self.words, horizon=HORIZON, action_dim=ACTION_DIM
        )

    def fields(self, number: int = 0) -> PromptFields:
        """One of the instructions; the first has two targets."""
        instruction, targets = list(INSTRUCTIONS.items())[number % len(INSTRUCTIONS)]
        return PromptFields(instruction=instruction, state=np.linspace(-0.5, 0.5, 8), targets=targets)

    def row(self, decoder: Decoder, draft: Sequence[str] | None = None, number: int = 0) -> Row:
        """One of the instructions as the decoder takes it, with drafted answers or without."""
        row = decoder.plan(self.fields(number))
        return row if draft is None else row.with_answers(draft, trusted=False)

    def call(
        self, decoder: Decoder, *, actions: Sequence[int] | None = None, draft: Sequence[str] | None = None
    ) -> Callable[[], list[Decoded]]:
        """A call that plans the first instruction and writes a given chunk, by default the one of 36 ids."""
        given = [actions or self.actions]
        return lambda: decoder.decode(self.images, [self.row(decoder, draft)], actions=given)

    def prompts(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """What the published procedure reads: up to each question, then up to the actions."""
        script = SCRIPTS["inspire"](DIRECTION)
        rendered = [render(script, self.fields(), self.words, answers=ANSWERS[:n]).tokens for n in range(3)]
        return [(tokens.ids, tokens.block) for tokens in rendered]


def procedures(bench: Bench, rounds: int, *, quick: bool) -> dict[str, float]:
    """The published procedure against ours, two questions each; unless quick, also on a network in our layout."""
    forced = bench.words.from_action(bench.actions)
    prompts = bench.prompts()

    def publish(model: Any, steps: int, room: int | None = None) -> Callable[[], object]:
        return lambda: published.decode(model, bench.images, prompts, forced, steps=steps, room=room)

    asks = bench.decoder("inspire")
    ours, whole, stops = (
        bench.call(asks),
        publish(bench.trained, published.MAX_STEPS),
        publish(bench.trained, ACTION_IDS),
    )
    sides, same_layout = {"published, stops": stops, "ours": ours}, "published, stops, our layout"
    if not quick:
        sides[same_layout] = publish(bench.served, ACTION_IDS)
    # 256 steps take half a minute: one round of them is enough when time is short, and compiling them takes but one
    # step.
    short = publish(bench.trained, 1, published.MAX_STEPS)
    longest = take_turns(
        {"published, 256 steps": whole, "ours": ours}, 1 if quick else rounds, {"published, 256 steps": short}
    )
    times = take_turns(sides, rounds)
    read = f"3 x {bench.config.image_tokens} + {', '.join(str(len(ids)) for ids, _ in prompts)}"
    mine = described(bench, asks, None)
    table(longest, {"published, 256 steps": (read, published.MAX_STEPS), "ours": mine}, "ours")
    table(times, {**dict.fromkeys(sides, (read, ACTION_IDS)), "ours": mine}, "ours")
    figures = {
        "speedup_vs_published": ratio(longest, "published, 256 steps", "ours"),
        "speedup_vs_published_stopping": ratio(times, "published, stops", "ours"),
    }
    if not quick:
        figures["speedup_vs_published_stopping_same_layout"] = ratio(times, same_layout, "ours")
    return figures


def questions(bench: Bench, rounds: int) -> dict[str, float]:
    """Two questions against none, each side in its own tightest bucket."""
    asks, plain = bench.decoder("inspire"), bench.decoder("pi0_fast")
    free = bench.call(asks)()[0].answers
    wrong = tuple(next(a for a in DIRECTION.answers if a != said) for said in free)
    sides: dict[str, tuple[Decoder, Sequence[str] | None]] = {
        "no questions": (plain, None),
        "2 questions": (asks, None),
        "2 questions, drafts hold": (asks, free),
        "2 questions, drafts fail": (asks, wrong),
    }
    times = take_turns({name: bench.call(one, draft=draft) for name, (one, draft) in sides.items()}, rounds)
    table(times, {name: described(bench, *side) for name, side in sides.items()}, "no questions")
    return {
        "inspire_overhead_plain": ratio(times, "2 questions", "no questions"),
        "inspire_overhead_drafted": ratio(times, "2 questions, drafts hold", "no questions"),
        "inspire_overhead_drafts_fail": ratio(times, "2 questions, drafts fail", "no questions"),
        "no_questions_ms": median_ms(times["no questions"]),
    }


def chunk(bench: Bench, rounds: int) -> dict[str, float]:
    """A chunk of 32 ids with two questions: how long the robot waits, and for what."""
    asks, plain = bench.decoder("inspire"), bench.decoder("pi0_fast")
    ids = bench.chunk_of(32)
    if len(ids) != 32:
        raise ValueError(f"No chunk has 32 ids; the nearest has {len(ids)}.")
    free = bench.call(asks)()[0].answers
    embed = jax.jit(lambda model, images: model.embed_images(images))
    images = {camera: jnp.asarray(image) for camera, image in bench.images.items()}
    times = take_turns(
        {
            "images alone": lambda: embed(bench.served, images),
            "no questions": bench.call(plain, actions=ids),
            "2 questions": bench.call(asks, actions=ids),
            "2 questions, drafts hold": bench.call(asks, actions=ids, draft=free),
        },
        rounds,
    )
    parameters = sum(leaf.size for leaf in jax.tree.leaves(bench.served))
    say(f"{parameters / 1e9:.2f}e9 parameters")
    for name, seconds in times.items():
        say(f"{name:32} {median_ms(seconds):9.1f} ms")
    return {
        "parameters": parameters,
        "images_ms": median_ms(times["images alone"]),
        "chunk32_ms": median_ms(times["no questions"]),
        "chunk32_2_questions_ms": median_ms(times["2 questions"]),
        "chunk32_drafted_ms": median_ms(times["2 questions, drafts hold"]),
    }


def table(times: Mapping[str, Sequence[float]], shapes: Mapping[str, tuple[str, int]], reference: str) -> None:
    """Sides with their medians, their ratio to one of them, and what they read."""
    say(f"{'side':32} {'ms':>9} {'ratio':>7}  {'ids read at once (padding)':44} steps")
    for name, seconds in times.items():
        read, steps = shapes[name]
        say(f"{name:32} {median_ms(seconds):9.1f} {ratio(times, name, reference):7.3f}  {read:44} {steps}")


def described(bench: Bench, decoder: Decoder, draft: Sequence[str] | None) -> tuple[str, int]:
    """How much a side of ours reads at once, and how much of it is padding; and how many tokens one by one."""
    layout = decoder.lay_out([bench.row(decoder, draft)])
    accepted = bench.call(decoder, draft=draft)()[0].accepted
    chunks = [f"{layout.lengths[0]} (+{layout.ids.shape[1] - layout.lengths[0]})"]
    asked = np.flatnonzero(layout.slots.active[:, 0])[accepted:]
    if len(asked):
        chunks += [
            f"{1 + n} (+{layout.slots.continuation.shape[2] - n})"
            for n in layout.slots.continuation_lengths[asked[:-1], 0]
        ]
        chunks += [f"{1 + layout.suffix_lengths[0]} (+{layout.suffix.shape[1] - layout.suffix_lengths[0]})"]
    return f"{bench.config.image_tokens} + {', '.join(chunks)}", ACTION_IDS - 1


def step_over_floor(bench: Bench, rounds: int) -> dict[str, float]:
    """One decoded token against the time that reading its weights and cache takes.

    A token takes (long - short chunk) / difference; memory is read at what the faster of two readers of an array far
    larger than the caches takes in the same round: a sum over it, or its product with a vector.
    """
    decoder = bench.decoder("pi0_fast")
    short, long = bench.chunk_of(12), bench.chunk_of(60)
    array = jnp.ones(((1 << 15) if jax.default_backend() == "cpu" else (1 << 19), 2048), jnp.float32)
    readers = {"sum": jax.jit(lambda x: x.sum()), "product": jax.jit(lambda x: x @ jnp.ones(2048))}
    times = take_turns(
        {
            "short": bench.call(decoder, actions=short),
            "long": bench.call(decoder, actions=long),
            **{
                name: (lambda read=read: [read(array).block_until_ready() for _ in range(READS)])
                for name, read in readers.items()
            },
        },
        rounds,
    )
    layout = decoder.lay_out([bench.row(decoder)])
    language = bench.config.language
    slots = bench.config.image_tokens + layout.ids.shape[1] + layout.room + decoder.longest
    width = jnp.dtype(bench.config.dtype).itemsize
    cache = 2 * language.depth * slots * language.kv_heads * language.head_dim * width
    head = bench.words.action.vocab_size * language.width * width
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves(bench.served.language.layers))
    steps = [(b - a) / (len(long) - len(short)) for a, b in zip(times["short"], times["long"], strict=True)]
    rates = [READS * array.nbytes / min(seconds) for seconds in zip(times["sum"], times["product"], strict=True)]
    floors = [(weights + cache + head) / rate for rate in rates]
    say(
        f"step {median_ms(steps):.2f} ms; floor {median_ms(floors):.2f} ms ({weights / 1e6:.0f} MB weights, "
        f"{cache / 1e6:.1f} MB cache, {head / 1e6:.1f} MB action rows at {statistics.median(rates) / 1e9:.1f} GB/s, "
        f"{max(rates) / 1e9:.1f} at best)"
    )
    over = statistics.median(step / floor for step, floor in zip(steps, floors, strict=True))
    return {"decode_step_ms": median_ms(steps), "decode_step_over_floor": over}


def batch_scaling(bench: Bench, rounds: int, sizes: Sequence[int], alone: int) -> dict[str, float]:
    """Rows of different prompts and question counts; the first `alone` of them are compared with calls of one row."""
    decoder = bench.decoder("inspire")
    images = random_images(bench.config, max(sizes), seed=3)
    planned = [decoder.plan(bench.fields(n)) for n in range(max(sizes))]

    def call(rows: Sequence[int]) -> list[Decoded]:
        picked = {camera: pictures[list(rows)] for camera, pictures in images.items()}
        return decoder.decode(picked, [planned[row] for row in rows], actions=[bench.actions] * len(rows))

    times = take_turns({str(n): (lambda n=n: call(range(n))) for n in sizes}, rounds)
    together = call(range(max(sizes)))
    differ = [row for row in range(alone) if not same_output(call([row])[0], together[row])]
    say(f"{'rows':>4} {'ms':>9} {'chunks/s':>9} {'to 1 row':>9}")
    for n in sizes:
        say(
            f"{n:4} {median_ms(times[str(n)]):9.1f} {n / statistics.median(times[str(n)]):9.2f} "
            f"{n / ratio(times, str(n), '1'):9.2f}"
        )
    say(f"rows whose output differs from their single-row one: {len(differ)} of {alone}")
    return {
        **{f"batch{n}_throughput_ratio": n / ratio(times, str(n), "1") for n in sizes},
        "batch_rows_checked": alone,
        "batch_rows_that_differ": len(differ),
    }


def same_output(a: Decoded, b: Decoded) -> bool:
    """The same answers and action ids, with the same probabilities but for rounding."""
    said = (a.answers, a.action_ids) == (b.answers, b.action_ids)
    close = np.allclose(a.answer_probabilities, b.answer_probabilities, rtol=0, atol=1e-4)
    return said and close and bool(np.isclose(a.action_log_probability, b.action_log_probability, rtol=1e-4))


def program_mb(bench: Bench, model: InferenceModel) -> float:
    """Arguments and temporaries of the program of one call, as XLA plans them."""
    calls: list[tuple[Any, ...]] = []
    run = decoder_module.run
    with mock.patch.object(decoder_module, "run", lambda *arguments: (calls.append(arguments), run(*arguments))[1]):
        bench.call(bench.decoder("inspire", model))()
    planned = run.lower(*calls[0]).compile().memory_analysis()
    if planned is None:  # this backend does not say
        return float("nan")
    return (planned.argument_size_in_bytes + planned.temp_size_in_bytes) / 1e6


def shorter_weights(bench: Bench, rounds: int) -> dict[str, float]:
    """The network held in fewer bytes: how far its logits move, what a call takes, and what its program needs."""
    held: tuple[Weights, ...] = ("float32", "bfloat16", "int8")
    if bench.config.dtype != "float32":
        held = ("bfloat16", "int8")
    models = {weights: build(bench.trained, weights=weights, dtype=bench.config.dtype) for weights in held}
    tokens = render(
        SCRIPTS["inspire"](DIRECTION), bench.fields(), bench.words, answers=ANSWERS, action_ids=bench.actions
    ).tokens
    actions = bench.words.from_action(np.arange(bench.words.action.vocab_size))

    @jax.jit
    def score(model: InferenceModel) -> jax.Array:
        seen = model.embed_images({camera: jnp.asarray(image) for camera, image in bench.images.items()})
        shown, n = {camera: jnp.ones(1, bool) for camera in bench.images}, len(tokens)
        ids, block = jnp.asarray(tokens.ids)[None], jnp.asarray(tokens.block)[None]
        hidden, _ = model.prefill(seen, shown, ids, jnp.full(1, n), block, n)
        return jnp.einsum("lw,kw->lk", hidden[0], model.head(jnp.asarray(actions)), preferred_element_type=jnp.float32)

    scores = {weights: np.asarray(score(model)) for weights, model in models.items()}
    times = take_turns({w: bench.call(bench.decoder("inspire", model)) for w, model in models.items()}, rounds)
    figures: dict[str, float] = {}
    say(f"{'weights':9} {'MB':>7} {'program MB':>11} {'ms':>9} {'logit error':>12} {'same choice':>12}")
    for weights, model in models.items():
        error = float(np.linalg.norm(scores[weights] - scores[held[0]]) / np.linalg.norm(scores[held[0]]))
        same = float((scores[weights].argmax(-1) == scores[held[0]].argmax(-1)).mean())
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(model.language.layers)) / 1e6
        needed = program_mb(bench, model)
        say(f"{weights:9} {size:7.0f} {needed:11.0f} {median_ms(times[weights]):9.1f} {error:12.4f} {same:12.3f}")
        figures |= {f"{weights}_logit_error": error, f"{weights}_time_ratio": ratio(times, weights, held[0])}
        figures[f"{weights}_program_mb"] = needed
    return figures


def free_running(checkpoint: Path, config_name: str, calls: int) -> dict[str, float]:
    """A trained policy on successive frames of held-out episodes: nothing is forced, it ends chunks itself."""
    if not checkpoint.is_dir():
        say(f"Left out: no run in {checkpoint} (`make demo` makes one).")
        return {}
    policy = InspirePolicy.load(checkpoint)
    source = open_source(load_config(config_name), "held_out")
    samples = [source[n] for n in range(min(calls, len(source)))]
    last: dict[Any, Sequence[str]] = {}

    def decode(number: int, *, ask: bool, draft: bool) -> Decoded:
        sample = samples[number]
        asked = [t.phrase for t in sample.facts.targets] if ask and sample.facts else ()
        prepared = policy.prepare_canonical(sample.observation, RequestOptions(targets=asked))
        targets = prepared.fields.targets
        if draft and targets in last:
            prepared = replace(prepared, row=prepared.row.with_answers(last[targets], trusted=False))
        row = policy.decode([prepared])[0]
        if draft:
            last[targets] = row.answers
        return row

    sides = {
        "no questions": {"ask": False, "draft": False},
        "2 questions": {"ask": True, "draft": False},
        "2 questions, last answers drafted": {"ask": True, "draft": True},
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    said: dict[str, list[Decoded]] = {name: [] for name in sides}
    for again in range(2):  # the first time compiles
        last.clear()
        for number in range(len(samples)):
            for name, how in sides.items():
                start = time.perf_counter()
                row = decode(number, **how)
                if again:
                    times[name].append(time.perf_counter() - start)
                    said[name].append(row)
    say(
        f"{len(samples)} calls; {'side':34} {'ms':>7} {'ratio':>7} {'action ids':>11} {'answers':>8} "
        f"{'drafts kept':>12}"
    )
    for name, rows in said.items():
        ids, answers = (
            statistics.mean(map(len, of)) for of in ([r.action_ids for r in rows], [r.answers for r in rows])
        )
        kept = sum(row.accepted for row in rows) / max(1, sum(len(row.answers) for row in rows))
        ms, times_as_long = median_ms(times[name]), ratio(times, name, "no questions")
        say(f"{'':10}{name:34} {ms:7.1f} {times_as_long:7.3f} {ids:11.1f} {answers:8.2f} {kept:12.3f}")
    differ = sum(
        (a.answers, a.action_ids) != (b.answers, b.action_ids)
        for a, b in zip(said["2 questions"], said["2 questions, last answers drafted"], strict=True)
    )
    say(f"calls in which a draft changed what was said: {differ}")
    return {
        "free_running_overhead_plain": ratio(times, "2 questions", "no questions"),
        "free_running_overhead_drafted": ratio(times, "2 questions, last answers drafted", "no questions"),
        "free_running_calls_changed_by_drafts": differ,
    }


def malformed(words: Vocabulary, chunks: int) -> dict[str, int]:
    """Chunks that random-weight networks write, greedy and drawn: how many cannot be decoded."""
    config = replace(PRESETS["test"], vocab_size=words.size)
    bad = checked = 0
    rows, seeds = 64, 4
    for seed in range(seeds):
        bench = Bench(config=replace(config, dtype="float32"), words=words)
        decoder = bench.decoder("inspire", build(random_model(bench.config, seed)))
        for call in range(-(-chunks // (rows * seeds))):
            images = random_images(config, rows, seed=1000 * seed + call)
            states = np.random.default_rng([seed, call]).uniform(-1, 1, (rows, 8))
            planned = [decoder.plan(replace(bench.fields(n), state=state)) for n, state in enumerate(states)]
            options = [RequestOptions(temperature=(0.0, 1.0, 3.0, 10.0)[n % 4], seed=n) for n in range(rows)]
            for row in decoder.decode(images, planned, options):
                checked += 1
                bad += not well_formed(words, row)
        sys.stderr.write(f"\r{checked} chunks ")
    sys.stderr.write("\n")
    say(f"{bad} of {checked} chunks of random-weight networks malformed")
    return {"chunks_checked": checked, "malformed_chunks": bad}


def well_formed(words: Vocabulary, row: Decoded) -> bool:
    """Its ids are exactly one finite chunk."""
    try:
        chunk = words.action.decode(list(row.action_ids), HORIZON, ACTION_DIM)
    except ValueError:
        return False
    return chunk.shape == (HORIZON, ACTION_DIM) and bool(np.isfinite(chunk).all())


def say(line: str) -> None:
    """A line of a table, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(args: Args) -> None:
    """Prints the tables, then the JSON line."""
    quick, preset = args.quick, PRESETS[args.preset]
    dtype = args.dtype or ("float32" if jax.default_backend() == "cpu" else "bfloat16")
    config = replace(preset, dtype=dtype, vocab_size=257152, cameras=("base_0_rgb", "left_wrist_0_rgb"))
    parts = args.parts or tuple(part for part in get_args(Part) if not (quick and part in NOT_QUICK))
    bench = Bench(config=config, words=vocabulary(config.vocab_size), donate=TRAINABLE.isdisjoint(parts))
    say(f"{args.preset}, {dtype}, {jax.devices()[0].device_kind}, {len(jax.devices())} device(s)")
    figures: dict[str, Any] = {"preset": args.preset, "device": jax.devices()[0].device_kind}

    def rounds(if_quick: int, otherwise: int) -> int:
        return args.rounds or (if_quick if quick else otherwise)

    measures: dict[Part, Callable[[], Mapping[str, Any]]] = {
        "procedures": lambda: procedures(bench, rounds(3, 9), quick=quick),
        "questions": lambda: questions(bench, rounds(18, 40)),
        "chunk": lambda: chunk(bench, rounds(5, 15)),
        "token": lambda: step_over_floor(bench, rounds(10, 30)),
        "batches": lambda: batch_scaling(bench, rounds(1, 5), *(((1, 8), 2) if quick else ((1, 2, 4, 8, 16), 16))),
        "weights": lambda: shorter_weights(bench, rounds(3, 9)),
        "trained": lambda: free_running(args.checkpoint, args.config, 20 if quick else 400),
        "well-formed": lambda: malformed(vocabulary(2048), args.chunks or (1_280 if quick else 10_000)),
    }
    for part in parts:
        say(f"\n{part}")
        start = time.perf_counter()
        figures |= measures[part]()
        sys.stderr.write(f"{part}: {time.perf_counter() - start:.0f} s\n")
    say(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}))


if __name__ == "__main__":
    main(tyro.cli(Args))
