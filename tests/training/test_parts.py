"""Several datasets in one run: config and command line, drawing by weight, exact resume, early refusal."""

from __future__ import annotations

from dataclasses import replace
import itertools
import json
from pathlib import Path
import re
import shutil

import numpy as np
import pytest

from inspire_fast.commands import check_dataset, compute_norm_stats
from inspire_fast.commands.with_config import ConfigArgument, run_with_config
from inspire_fast.data.facts import FactsTable, write_facts
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.data.loader import Loader, LoaderConfig
from inspire_fast.data.mixture import Mixture
from inspire_fast.data.normalization.compute import source_stats
from inspire_fast.data.normalization.stats import load_made_from, save_norm_stats
from inspire_fast.data.testing import write_fake_dataset
from inspire_fast.data.training_transform import TrainingTransform
from inspire_fast.models.config import TEST
from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer
from inspire_fast.tokenizers.registry import ACTION_TOKENIZERS
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer
from inspire_fast.training.config import CheckpointConfig, DataConfig, DialogueConfig, TrainConfig
from inspire_fast.training.dataset_config import DataPart, parse, part_names
from inspire_fast.training.datasets import lengths
from inspire_fast.training.datasets.assets import (
    compute_stats,
    fit_tokenizers,
    load_stats,
    load_vocabulary,
    make_transform,
    stats_path,
)
from inspire_fast.training.datasets.fingerprints import fingerprints, require_unchanged
from inspire_fast.training.datasets.known_lengths import count_lengths, known_lengths
from inspire_fast.training.datasets.lengths import longest_dialogue
from inspire_fast.training.datasets.provenance import made_from, warn_of_other_samples
from inspire_fast.training.datasets.sources import described, open_parts, open_source
from inspire_fast.training.inspection.page import write_page
from inspire_fast.training.inspection.samples import inspect
from inspire_fast.training.loop import train
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.prepare import fixed_batches, prepare

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """Two datasets of different versions and sizes; the smaller one is drawn three times as often."""
    root = tmp_path_factory.mktemp("parts")
    write_fake_dataset(root / "large", episodes=8, frames=12)
    write_fake_dataset(root / "small", episodes=4, frames=6, seed=1, version="v2.1")
    debug = load_config("debug")
    parts = (
        DataPart(root=root / "large", weight=1, exclude_episodes=(2,)),
        DataPart(root=root / "small", weight=3),
    )
    config = replace(
        debug,
        model=replace(TEST, vocab_size=debug.model.vocab_size),
        data=replace(debug.data, root=None, parts=parts),
        assets=root / "assets",
        checkpoint=CheckpointConfig(root=root / "checkpoints", every=2),
        evaluation=replace(debug.evaluation, every=4, samples=8),
        steps=4,
    )
    compute_stats(config)
    fit_tokenizers(config)
    return config


def with_parts(config: TrainConfig, *parts: DataPart, **changes) -> TrainConfig:
    return replace(config, data=replace(config.data, root=None, parts=parts, **changes))


def rows_of(loader: Loader, count: int) -> list[dict[str, np.ndarray]]:
    return list(itertools.islice(loader, count))


def test_the_batches_of_a_run_are_drawn_by_weight_and_resumed_exactly(config: TrainConfig) -> None:
    """What `train` gives to a loader: the samples of both versions, by weight; the rest of the stream is bit-equal."""
    source = open_source(config, "train")
    assert isinstance(source, Mixture)
    transform = make_transform(config, load_vocabulary(config), load_stats(config))

    def loader() -> Loader:
        return Loader(source, transform, LoaderConfig(batch_size=8, seed=config.seed, shuffle=True, num_threads=1))

    drawn = loader()
    whole = rows_of(drawn, 5)
    drawn.close()
    first = loader()
    rows_of(first, 3)
    position = json.loads(json.dumps(first.state()))
    first.close()
    resumed = loader()
    resumed.restore(position)
    for wanted, got in zip(whole[3:], rows_of(resumed, 2), strict=True):
        assert wanted.keys() == got.keys()
        for name in wanted:
            np.testing.assert_array_equal(wanted[name], got[name], err_msg=name)
    resumed.close()
    shown = np.concatenate([batch["image:base_0_rgb"][:, 0, 0, 0] for batch in whole])
    of_small = {int(part[0].observation.images["base_0_rgb"][0, 0, 0]) for part in _episodes(source.parts[1].source)}
    of_large = {int(part[0].observation.images["base_0_rgb"][0, 0, 0]) for part in _episodes(source.parts[0].source)}
    assert not of_small & of_large
    assert np.isin(shown, [*of_small]).sum() == 30, "three of four samples"
    assert np.isin(shown, [*of_large]).sum() == 10


def _episodes(source) -> list[list]:
    """The first sample of each of a source's episodes."""
    first = {source.location(i)[0]: i for i in reversed(range(len(source)))}
    return [[source[i]] for i in first.values()]


def test_held_out_episodes_are_each_parts_own(config: TrainConfig) -> None:
    """Every 4th: two of the large one's eight, one of the small one's four; shown in the shares of training."""
    episodes = {
        split: {
            part.name: {part.source.location(i)[0] for i in range(len(part.source))}
            for part in open_parts(config, split)
        }
        for split in ("train", "held_out")
    }
    assert episodes["held_out"] == {"large": {3, 7}, "small": {3}}
    assert episodes["train"] == {"large": {0, 1, 4, 5, 6}, "small": {0, 1, 2}}, "episode 2 of the large one is excluded"
    transform = make_transform(config, load_vocabulary(config), load_stats(config))
    batches = fixed_batches(open_source(config, "held_out"), transform, samples=8, batch_size=4)
    assert [len(batch["ids"]) for batch in batches] == [4, 4]
    small = open_parts(config, "held_out")[1].source[0].observation.images["base_0_rgb"][0, 0, 0]
    assert [(batch["image:base_0_rgb"][:, 0, 0, 0] == small).sum() for batch in batches] == [3, 3]


def test_a_part_without_held_out_episodes_does_not_count(config: TrainConfig) -> None:
    few = replace(config, data=replace(config.data, held_out_every=5))
    assert [len(part.source) > 0 for part in open_parts(few, "held_out")] == [True, False]
    source = open_source(few, "held_out")
    assert isinstance(source, Mixture)
    assert [part.name for part in source.parts] == ["large"]
    assert len(open_source(replace(config, data=replace(config.data, held_out_every=50)), "held_out")) == 0


@pytest.mark.parametrize("tokenizer", list(ACTION_TOKENIZERS))
def test_fewer_episodes_than_held_out_every_are_trained_on(
    config: TrainConfig, tmp_path: Path, tokenizer: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_fake_dataset(tmp_path / "few", episodes=3, frames=24)
    few = replace(
        config,
        data=replace(config.data, root=root, parts=(), max_token_len=400, max_supervised=200),
        tokenizers=replace(config.tokenizers, action=tokenizer),
        assets=tmp_path,
    )
    compute_stats(few)
    fit_tokenizers(few)
    assert prepare(few).held_out == []
    assert "No episode is held out" in caplog.text


def test_statistics_are_of_the_samples_as_they_are_drawn(config: TrainConfig) -> None:
    """Equal to repeating each sample of the small part as often as it is drawn for one of the large part."""
    large, small = (part.source for part in open_parts(config, "train"))
    assert (len(large), len(small)) == (60, 18)
    times = 10  # 3 * 60 draws of 18 samples: each is drawn 10 times as often
    for key, values in {
        "state": np.concatenate([large.states(), *[small.states()] * times]),
        "actions": np.concatenate([large.chunks(), *[small.chunks()] * times]),
    }.items():
        flat, stats = values.reshape(-1, values.shape[-1]).astype(np.float64), load_stats(config)[key]
        np.testing.assert_allclose(stats.mean, flat.mean(axis=0), atol=1e-9)
        np.testing.assert_allclose(stats.std, flat.std(axis=0), atol=1e-9)
        slack = times / len(flat)  # of one sample with its repetitions
        for name, q in (("q01", 0.01), ("q99", 0.99)):
            assert ((flat < getattr(stats, name) - 1e-9).mean(axis=0) <= q + slack).all()
            assert ((flat < getattr(stats, name) + 1e-9).mean(axis=0) >= q - slack).all()
    by_size = with_parts(config, *(replace(part, weight=None) for part in config.data.parts))
    stats = compute_stats(replace(by_size, assets=config.assets / "by_size"))
    plain = np.concatenate([large.states(), small.states()])
    np.testing.assert_allclose(stats["state"].q99, np.quantile(plain.astype(np.float64), 0.99, axis=0), rtol=1e-12)


def test_streamed_statistics_are_of_the_samples_as_they_are_drawn(config: TrainConfig) -> None:
    exact, streamed = (
        load_stats(config)["actions"],
        source_stats(open_source(config, "train"), streaming=True)["actions"],
    )
    np.testing.assert_allclose(streamed.mean, exact.mean, atol=1e-5)
    np.testing.assert_allclose(streamed.std, exact.std, atol=1e-5)
    np.testing.assert_allclose(streamed.q99, exact.q99, atol=0.02)


def test_tokenizers_are_saved_only_after_they_were_tried(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    new = replace(config, assets=config.assets / "tried")
    compute_stats(new)
    monkeypatch.setattr(FastTokenizer, "encode_batch", lambda _, chunks: [[]] * len(chunks))
    with pytest.raises(ValueError, match="hold 0 coefficients"):
        fit_tokenizers(new)
    assert [path.name for path in new.assets_dir.iterdir()] == [new.asset_id], "the statistics alone"


def test_a_run_without_action_ids_is_refused(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FastTokenizer, "encode", lambda *_: [])
    with pytest.raises(ValueError, match="wrote no ids"):
        prepare(config)


# Lengths


def lengths_of(config: TrainConfig, transform: TrainingTransform) -> list[tuple[int, int]]:
    """(ids, supervised ids) of every training dialogue."""
    samples = [part.source[i] for part in open_parts(config, "train") for i in range(len(part.source))]
    tokens = [transform.render(sample).tokens for sample in samples]
    return [(len(t), int(t.supervised.sum())) for t in tokens]


def test_the_longest_dialogue_is_known_without_reading_images(config: TrainConfig) -> None:
    transform = make_transform(config, load_vocabulary(config), load_stats(config))
    parts, lengths = open_parts(config, "train"), lengths_of(config, transform)
    most = tuple(max(each) for each in zip(*lengths, strict=True))
    bound = longest_dialogue(parts, transform)
    assert bound.ids >= most[0]
    assert bound.supervised >= most[1]
    written_out = longest_dialogue(parts, replace(transform, max_token_len=1))
    assert (written_out.ids, written_out.supervised) == most
    written_out.require_fit(*most)
    for limits in ((most[0] - 1, most[1]), (most[0], most[1] - 1)):
        with pytest.raises(
            ValueError, match=rf"Set `--data\.max-token-len {most[0]} --data\.max-supervised {most[1]}`\."
        ):
            written_out.require_fit(*limits)


def test_counted_lengths_are_kept_for_the_same_data_and_text(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of(config: TrainConfig) -> tuple:
        return config, open_parts(config, "train"), make_transform(config, load_vocabulary(config), load_stats(config))

    counted = count_lengths(*of(config))
    monkeypatch.setattr(lengths, "_longest_of", lambda *_: pytest.fail("counts again"))
    assert known_lengths(*of(config)) == counted
    shorter = replace(config, data=replace(config.data, max_token_len=counted.ids - 1))
    noisy = replace(config, data=replace(config.data, state_noise=0.1))
    fewer = replace(config, dialogue=replace(config.dialogue, max_targets=1))
    for other in (shorter, noisy, fewer):
        with pytest.raises(pytest.fail.Exception, match="counts again"):
            known_lengths(*of(other))
    stats_path(config).with_name("lengths.json").unlink()


def test_noise_on_the_state_makes_no_dialogue_too_long(config: TrainConfig) -> None:
    """Numbers of a state are of different lengths if each digit has an id, as PaliGemma's."""
    text = TextTokenizer.fit(["Task: put the red block on the plate, State: 1 200 30;\nAction: |"] * 8, vocab_size=330)
    vocabulary = replace(load_vocabulary(config), text=text)
    transform = replace(make_transform(config, vocabulary, load_stats(config)), state_noise=2.0, max_token_len=1)
    longest = longest_dialogue(open_parts(config, "train"), transform)
    sample, rng = open_parts(config, "train")[0].source[0], np.random.default_rng(0)
    lengths = [len(transform.render(sample, rng).tokens) for _ in range(50)]
    assert len(set(lengths)) > 1
    assert longest.ids >= max(lengths)
    assert longest.ids > max(ids for ids, _ in lengths_of(config, transform))


def test_one_long_instruction_is_refused_before_the_first_step(config: TrainConfig, tmp_path: Path) -> None:
    words = " that is very slightly to the left of the second plate from the window" * 4
    short = write_fake_dataset(tmp_path / "short", episodes=4, frames=4)
    root = write_fake_dataset(tmp_path / "long", episodes=4, frames=4, tasks={1: f"pick up the cup{words}"})
    alone, without = replace(config.data, root=root, parts=()), DialogueConfig(script="pi0_fast", questions=())
    plain = replace(config, data=replace(alone, root=short), dialogue=without, assets=tmp_path)
    compute_stats(plain)
    fit_tokenizers(plain)
    plain = replace(plain, data=alone)
    with pytest.raises(
        ValueError, match=r"long, episode 1, frame \d, 'pick up the cup that .*--data.max-token-len (\d+)"
    ) as e:
        prepare(plain)
    fits = int(re.findall(r"max-token-len (\d+)", str(e.value))[0])
    assert prepare(replace(plain, data=replace(alone, max_token_len=fits))).transform.max_token_len == fits


def test_one_frame_without_facts_is_refused_before_the_first_step(config: TrainConfig, tmp_path: Path) -> None:
    root = write_fake_dataset(tmp_path / "data", episodes=4, frames=4)
    table = FactsTable.load(root)
    scenes = {episode: [table.facts(episode, frame) for frame in range(4)] for episode in range(4)}
    scenes[1][2] = None
    write_facts(root, scenes, robot="libero", frame_description="any")
    source = open_parts(with_parts(config, DataPart(root=root)), "train")
    transform = make_transform(config, load_vocabulary(config), load_stats(config))
    with pytest.raises(ValueError, match=r"this frame has no facts about"):
        longest_dialogue(source, transform)
    assert longest_dialogue(source, replace(transform, unlabelled="ask_nothing")).ids <= transform.max_token_len


# Provenance


def test_statistics_of_other_quantities_are_refused(config: TrainConfig) -> None:
    delta = replace(config, data=replace(config.data, delta=(True,) * 6 + (False,)))
    for use in (load_stats, fit_tokenizers, prepare):
        with pytest.raises(
            ValueError, match=r"other quantities .*\n  delta: \[False.*\[True.*\n.*--data\.delta True True"
        ):
            use(delta)
    assert load_stats(replace(config, data=replace(config.data, delta=(False,)))), "the same mask in other words"


def test_statistics_of_other_samples_are_told(config: TrainConfig, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_other_samples(config, stats_path(config))
    assert not caplog.records
    first, second = config.data.parts
    for other, word in (
        (with_parts(config, first, replace(second, weight=7)), "datasets"),
        (replace(config, data=replace(config.data, horizon=4)), "horizon"),
    ):
        caplog.clear()
        warn_of_other_samples(other, stats_path(config))
        assert f"\n  {word}: " in caplog.text
        assert load_stats(other), "they may be meant"


def test_statistics_of_another_program_are_believed(config: TrainConfig, tmp_path: Path) -> None:
    foreign = replace(config, assets=tmp_path, data=replace(config.data, delta=(True,) * 6))
    save_norm_stats(stats_path(foreign), load_stats(config))
    assert load_made_from(stats_path(foreign)) is None
    assert load_stats(foreign)
    assert load_made_from(stats_path(config)) == made_from(config)


def test_an_edit_of_the_metadata_that_changes_no_frame_stops_no_run(config: TrainConfig, tmp_path: Path) -> None:
    root = shutil.copytree(config.data.parts[0].root, tmp_path / "data")
    part = DataPart(root=root)
    saved, info = fingerprints([part], labelled=True), root / "meta" / "info.json"
    stored = json.loads(info.read_text(encoding="utf-8"))
    info.write_text(json.dumps({**stored, "robot_type": "franka"}), encoding="utf-8")
    require_unchanged(saved, fingerprints([part], labelled=True))
    info.write_text(json.dumps({**stored, "fps": 5}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"data: meta/ \(episodes, tasks, features\)"):
        require_unchanged(saved, fingerprints([part], labelled=True))
    info.write_text(json.dumps(stored), encoding="utf-8")
    earlier = {"data": {**saved["data"], "episodes": saved["data"]["episodes of earlier versions"]}}
    require_unchanged(earlier, fingerprints([part], labelled=True))


# Naming


def test_one_dataset_needs_no_parts(config: TrainConfig) -> None:
    root = config.data.parts[0].root
    one = replace(config, data=replace(config.data, root=root, parts=(), exclude_episodes=(2,)))
    assert one.data.datasets == (DataPart(root=root, exclude_episodes=(2,)),)
    source = open_source(one, "train")
    assert not isinstance(source, Mixture), "a single dataset keeps its order"
    assert len(source) == 60
    assert described(open_parts(one, "train")) == []


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("data/mine", DataPart(root=Path("data/mine"))),
        ("data/mine:0.25", DataPart(root=Path("data/mine"), weight=0.25)),
        ("gs:bucket/mine", DataPart(root=Path("gs:bucket/mine"))),
        (
            '{"root": "a:2", "weight": 3, "exclude_episodes": [4,7], "facts": "f", "name": "x", "columns": {"a": "b"}}',
            DataPart(
                root=Path("a:2"),
                weight=3,
                exclude_episodes=(4, 7),
                facts=Path("f"),
                name="x",
                columns={"a": "b"},
            ),
        ),
    ],
)
def test_a_part_in_words(text: str, part: DataPart) -> None:
    assert parse(text) == part
    assert parse(str(part)) == part


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data/mine:0", r"weight must be a number, above 0; got 0\.0"),
        ("data/mine:-1", "above 0; got -1"),
        ("data/mine:nan", "above 0; got nan"),
        ("data/mine:inf", "above 0; got inf"),
        ("{", "not valid JSON"),
        ('{"weight": 1}', "names no `root`"),
        ('{"root": "a", "wieght": 1}', "Did you mean 'weight'"),
        ('{"root": "a", "weight": "1"}', "`weight` cannot be '1'"),
        ('{"root": "a", "weight": true}', "`weight` cannot be True"),
        ('{"root": "a", "exclude_episodes": ["1"]}', "must be numbers"),
        ('{"root": "a", "columns": {"a": 1}}', "`columns` must be names"),
    ],
)
def test_words_that_are_no_part(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(text)


def test_names_are_the_ends_of_paths_that_differ() -> None:
    def names(*roots: str) -> tuple[str, ...]:
        return part_names([DataPart(root=Path(root)) for root in roots])

    assert names("data/a", "b") == ("a", "b")
    assert names("x/set", "y/set") == ("x/set", "y/set")
    assert part_names([DataPart(root=Path("x/set"), name="x"), DataPart(root=Path("y/set"))]) == ("x", "set")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "neither is given"),
        ({"root": Path("a"), "parts": (DataPart(root=Path("b")),)}, "both are given"),
        ({"parts": (DataPart(root=Path("a")), DataPart(root=Path("b/../a")))}, "names a dataset twice: .*Give it once"),
        ({"parts": (DataPart(root=Path("a"), weight=1), DataPart(root=Path("b")))}, "weights to all parts or to none"),
        ({"parts": (DataPart(root=Path("a"), name="x"), DataPart(root=Path("b"), name="x"))}, "names must differ"),
        ({"parts": (DataPart(root=Path("a")),), "exclude_episodes": (1,)}, "does not say of which of the 1 parts"),
    ],
)
def test_parts_that_contradict_each_other(data: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DataConfig(**data)


def test_weights_that_are_none() -> None:
    for weight in (0.0, -2.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="above 0; got"):
            DataPart(root=Path("a"), weight=weight)


def on_command_line(*words: str) -> TrainConfig:
    given = []

    def take(config: ConfigArgument) -> None:
        given.append(config)

    run_with_config(take, ["debug", *words])
    return given[0]


def test_the_command_line_names_parts() -> None:
    config = on_command_line("--data.parts", "data/a:3", '{"root": "data/b", "weight": 1, "exclude_episodes": [7]}')
    assert config.data.root is None
    assert config.data.parts == (
        DataPart(root=Path("data/a"), weight=3),
        DataPart(root=Path("data/b"), weight=1, exclude_episodes=(7,)),
    )
    assert on_command_line("--data.root", "data/a").data.datasets == (DataPart(root=Path("data/a")),)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data.parts", "data/a:0", "data/b:1"), "must be a number, above 0; got 0.0"),
        (("--steps", "3", "--data.parts", "data/a:1", '{"root": 3}', "--seed", "1"), "`root` cannot be 3"),
        (("--data.parts", "data/a", "data/a"), "names a dataset twice"),
        (("--data.parts", "data/a:1", "--data.root", "data/b"), "both are given"),
    ],
)
def test_the_command_line_refuses(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        on_command_line(*words)
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed


# What cannot be mixed, before anything is written


def refused(config: TrainConfig, words: str, error: type[Exception] = ValueError) -> None:
    before = stats_path(config).read_bytes()
    for command in (compute_stats, train, inspect):
        with pytest.raises(error, match=words):
            command(config)
    assert stats_path(config).read_bytes() == before
    assert not config.checkpoint_dir.exists()


def test_a_missing_dataset(config: TrainConfig, tmp_path: Path) -> None:
    first = config.data.parts[0]
    gone = with_parts(config, first, DataPart(root=tmp_path / "gone", weight=1))
    refused(gone, r"No LeRobot dataset at .*gone: .*the folder does not exist", FileNotFoundError)


def test_a_dataset_of_another_robot(config: TrainConfig, tmp_path: Path) -> None:
    first = config.data.parts[0]
    other = DataPart(root=write_fake_dataset(tmp_path / "other", episodes=2, frames=4), weight=1)
    path = other.root / "meta" / "info.json"
    info = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**info, "robot_type": "so100"}), encoding="utf-8")
    refused(with_parts(config, first, other), r"different robot types.*'large': 'panda', 'other': 'so100'.*may-differ")
    info["features"]["actions"]["shape"] = [6]
    path.write_text(json.dumps(info), encoding="utf-8")
    label_anew(other.root)
    refused(with_parts(config, first, other), r"other: column 'actions' has shape \(6,\); robot 'libero' needs \(7,\)")


def label_anew(root: Path) -> None:
    """The labels say which `info.json` they belong to."""
    dataset = LeRobotDataset(root)
    write_facts(root, {}, robot="libero", frame_description=f"world axes of {len(dataset)} frames")


def test_datasets_of_different_rates(config: TrainConfig, tmp_path: Path) -> None:
    first = config.data.parts[0]
    root = write_fake_dataset(tmp_path / "slow", episodes=2, frames=4)
    path = root / "meta" / "info.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "fps": 10}), encoding="utf-8")
    both = with_parts(config, first, DataPart(root=root, weight=1))
    refused(both, r"different frame rates.*'large': 20\.0, 'slow': 10\.0.*--data\.parts-may-differ")
    with pytest.raises(ValueError, match="labels another dataset"):  # past that check, on to the next
        open_source(replace(both, data=replace(both.data, parts_may_differ=True)), "train")


def test_labels_that_lie_elsewhere(config: TrainConfig, tmp_path: Path) -> None:
    first, second = config.data.parts
    root = tmp_path / "moved"
    shutil.copytree(second.root, root)
    (root / "labels").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"moved has no labels.*label_dataset\.py"):
        open_source(with_parts(config, first, replace(second, root=root)), "train")
    source = open_parts(with_parts(config, first, replace(second, root=root, facts=tmp_path / "elsewhere")), "train")[
        1
    ].source
    wanted = FactsTable.load(second.root).facts(0, 0)
    assert source.facts is not None
    assert wanted is not None
    read = source.facts.facts(0, 0)
    assert read is not None
    np.testing.assert_array_equal(read.targets[0].offset_m, wanted.targets[0].offset_m)


def test_a_run_that_would_ask_nothing_is_refused_and_such_a_part_is_told(
    config: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Labels know the block of every frame and the plate of none."""
    first, second = config.data.parts
    shutil.copytree(second.root, root := tmp_path / "half")
    stored = FactsTable.load(root)
    scenes = {episode: [stored.facts(episode, frame) for frame in range(6)] for episode in range(4)}
    known = {n: [replace(one, targets=one.targets[:1]) for one in own if one] for n, own in scenes.items()}
    shutil.rmtree(root / "labels")
    write_facts(root, known, robot="libero", frame_description="world axes, +x front, +y right, +z up")
    half = replace(second, root=root)
    with pytest.raises(
        ValueError, match=r"of 18 frames looked at in half none has the facts .*\['the plate'\]\. Label more"
    ):
        prepare(with_parts(config, half, unlabelled="ask_nothing"))
    prepare(with_parts(config, half, unlabelled="ask_known"))
    assert "is asked a question" not in caplog.text
    prepare(with_parts(config, first, half, unlabelled="ask_nothing"))
    assert "half: not one of 18 frames looked at is asked a question." in caplog.text


def test_a_part_with_its_own_columns(config: TrainConfig, tmp_path: Path) -> None:
    first, second = config.data.parts
    columns = {"wrist_image": "observation/image", "image": "observation/wrist_image", "state": "observation/state"}
    swapped = open_parts(with_parts(config, first, replace(second, columns=columns)), "train")[1].source[0].observation
    plain = open_parts(config, "train")[1].source[0].observation
    np.testing.assert_array_equal(swapped.images["base_0_rgb"], plain.images["left_wrist_0_rgb"])


# Commands


def test_the_page_tells_the_parts_apart(config: TrainConfig, tmp_path: Path) -> None:
    inspection = inspect(config, shown=8)
    assert [(part.name, part.samples, part.share) for part in inspection.parts] == [
        ("large", 60, 0.25),
        ("small", 18, 0.75),
    ]
    assert [shown.part for shown in inspection.shown] == ["large"] * 2 + ["small"] * 6
    drawn = inspection.answers_drawn()
    assert sum(drawn.values()) == pytest.approx(2 * 78), "two targets"
    key = ("direction", "grasped")
    counts = [part.answers[key] for part in inspection.parts]
    assert drawn[key] == pytest.approx(78 * (0.25 * counts[0] / 60 + 0.75 * counts[1] / 18))
    page = write_page(inspection, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "78 training samples of large, small" in page
    assert "<td>small</td><td>18</td><td>75.0%</td><td>none</td>" in page
    assert "<td>large</td><td>60</td><td>25.0%</td><td>episode 2: excluded by its number" in page
    assert "small: episode 0, frame 0" in page


def test_statistics_of_parts_come_with_a_report_on_each(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ["--data.parts", *map(str, config.data.parts), "--assets", str(tmp_path / "assets")]
    compute_norm_stats.main(["debug", *parts])
    printed = capsys.readouterr().out
    assert "part large: 60 samples, 25.0% of those drawn, 1 episodes skipped\npart small: 18 samples, 75.0%" in printed
    assert "78 samples, exact quantiles" in printed
    assert "report on large:" in printed
    assert "report on small:" in printed
    ours = json.loads((tmp_path / "assets/debug/libero/norm_stats.json").read_text(encoding="utf-8"))
    assert ours == json.loads(stats_path(config).read_text(encoding="utf-8"))


def test_bad_episodes_of_parts_are_named_by_folder(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large, small = config.data.parts
    broken = shutil.copytree(small.root, tmp_path / "broken")
    (broken / "data/chunk-000/episode_000001.parquet").write_bytes(b"")
    assert check_dataset.check_config(with_parts(config, large, replace(small, root=broken))) == 1
    printed = capsys.readouterr().out
    assert f"{broken}: episode 1: " in printed
    assert f"{large.root}: 0 of 7 episodes are unusable" in printed
    assert check_dataset.check_roots(root=(large.root, small.root), decode=True) == 0
    assert f"{large.root}: 0 of 8 episodes are unusable.\n" in capsys.readouterr().out
