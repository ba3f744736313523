"""ST4VLA's two stages end to end on a small dataset: grounding alone, then actions beside it; ids that stay apart."""

from dataclasses import replace
import json
import logging
from pathlib import Path

import numpy as np
from PIL import Image
import pytest

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.core.files import read_json_lines
from inspire_fast.core.types import SceneFacts, TargetFacts
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.facts import write_facts
from inspire_fast.data.testing import PHRASES, write_fake_dataset
from inspire_fast.labeling.llava import convert_llava
from inspire_fast.labeling.llava_rows import LlavaOptions
from inspire_fast.models.config import GEMMA_2B, TEST
from inspire_fast.policy.policy import InspirePolicy
from inspire_fast.robots import ROBOTS
from inspire_fast.training.config import DialogueConfig, OptimizerConfig, TokenizersConfig, TrainConfig
from inspire_fast.training.dataset_config import DataPart, parse
from inspire_fast.training.datasets.assets import compute_stats, fit_tokenizers
from inspire_fast.training.datasets.sources import open_parts
from inspire_fast.training.init_params import saw_actions
from inspire_fast.training.loop import train
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.prepare import prepare
from inspire_fast.training.reporting.grounding_guard import FILE, GroundingScore, share_kept
from inspire_fast.training.reporting.loss_shares import described
from inspire_fast.training.resuming import settings_differences
from inspire_fast.training.run_contract import jsonable

BINS = {"bins": 64}


def scene(frame: int) -> SceneFacts:
    box = (0.25, 0.25, 0.5, 0.75)
    plate = None if frame % 3 == 0 else (0.5, 0.5, 0.75, 0.875)  # hidden in every third frame
    return SceneFacts(
        targets=(
            TargetFacts(phrase=PHRASES[0], offset_m=np.zeros(3, np.float32), grasped=False, box_px=box),
            TargetFacts(phrase=PHRASES[1], offset_m=np.zeros(3, np.float32), grasped=False, box_px=plate),
        ),
        trace_px=np.array([[0.5, 0.5], [0.625, 0.75]], np.float32),
        camera="base_0_rgb",
    )


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """The first stage's config, its tokenizers and statistics made."""
    root = tmp_path_factory.mktemp("st4vla")
    write_fake_dataset(root / "data", frames=6)
    facts = {episode: [scene(frame) for frame in range(6)] for episode in range(8)}
    write_facts(root / "data", facts, robot="libero", frame_description="world axes")
    named = load_config("st4vla_ground_small")
    small = replace(
        named,
        dialogue=replace(
            named.dialogue,
            questions=("box", "trace", "movement"),
            question_parameters={"box": BINS, "trace": {**BINS, "points": 2}},
        ),
        model=replace(TEST, vocab_size=1152),
        data=replace(named.data, root=root / "data", parts=(), held_out_every=4),
        optimizer=OptimizerConfig(peak_lr=1e-3, end_lr=1e-4, warmup_steps=1, ema_decay=None),
        batch_size=4,
        steps=2,
        assets=root / "assets",
        checkpoint=replace(named.checkpoint, root=root / "checkpoints"),
        logging=replace(named.logging, every=1),
        evaluation=replace(named.evaluation, every=2, samples=4, decode_samples=4),
    )
    compute_stats(small)
    fit_tokenizers(small)
    return small


def second_stage(ground: TrainConfig) -> TrainConfig:
    named = load_config("st4vla_small")
    root = ground.data.root
    assert root is not None
    acting, grounding = (replace(part, root=root) for part in named.data.parts)
    return replace(
        named,
        dialogue=replace(ground.dialogue, script="st4vla"),
        model=ground.model,
        init_from=ground.checkpoint_dir,
        tokenizers=replace(named.tokenizers, text=str(ground.assets_dir)),
        data=replace(ground.data, root=None, parts=(acting, grounding), max_supervised=named.data.max_supervised),
        optimizer=ground.optimizer,
        batch_size=5,
        steps=2,
        assets=ground.assets,
        checkpoint=ground.checkpoint,
        logging=ground.logging,
        evaluation=replace(ground.evaluation, gradient_parts=True, samples=5),
    )


def lines(config: TrainConfig) -> list[dict[str, float]]:
    return read_json_lines(config.checkpoint_dir / "metrics.jsonl")


def of_pictures(ground: TrainConfig, folder: Path, script: str = "ground") -> TrainConfig:
    """The first stage on the robot's dataset and on single pictures from LLaVA's rows."""
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.full((24, 32, 3), 99, np.uint8)).save(folder / "a.png")
    said = [
        {"from": "human", "value": "<image>Give the box of the apple."},
        {"from": "gpt", "value": "[0.1, 0.2, 0.5, 0.5]"},
    ]
    rows = [json.dumps({"image": "a.png", "conversations": said})] * 8
    (folder / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    wordings = ("box: Give the box of {object}.",)
    options = LlavaOptions(pictures=folder, dialect="llava", wordings=wordings, picture_hw=(32, 32))
    if not (folder / "set").exists():
        convert_llava(folder / "rows.jsonl", folder / "set", options=options)
    assert ground.data.root is not None
    parts = (
        DataPart(root=ground.data.root, weight=3),
        DataPart(root=folder / "set", weight=1, name="pictures", script=script, questions=("box",)),
    )
    data = replace(ground.data, root=None, parts=parts)
    return replace(ground, data=data, assets=folder / "assets", checkpoint=replace(ground.checkpoint, root=folder))


def test_pictures_are_a_part_that_statistics_leave_out(ground: TrainConfig, tmp_path: Path) -> None:
    config = of_pictures(ground, tmp_path)
    alone, both = compute_stats(ground), compute_stats(config)
    np.testing.assert_array_equal(both["actions"].mean, alone["actions"].mean)
    fit_tokenizers(config)
    run = prepare(config)
    pictures = [i for i in range(len(run.source)) if run.source[i].actions is None]
    assert len(pictures) == 6  # of 8, of which every fourth is held out
    rendered = run.transform.render(run.source[pictures[0]])
    assert "find the apple" in "".join(piece.text for piece in rendered.pieces)
    with pytest.raises(DatasetError, match="single pictures without states and actions"):
        open_parts(of_pictures(ground, tmp_path, script="st4vla"), "train")
    only = replace(config.data, parts=config.data.parts[1:])
    with pytest.raises(DatasetError, match="hold single pictures alone"):
        compute_stats(replace(config, data=only))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_trains_on_pictures(ground: TrainConfig, tmp_path: Path) -> None:
    config = of_pictures(ground, tmp_path)
    compute_stats(config)
    fit_tokenizers(config)
    train(config)
    assert [row["step"] for row in lines(config)] == [0, 1, 2]
    assert "decoded_grounding/box" in lines(config)[0]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_stages(ground: TrainConfig, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        train(ground)
    first = lines(ground)
    assert [row["step"] for row in first] == [0, 1, 2]
    assert {"decoded_grounding/box", "decoded_grounding/trace", "decoded_grounding/movement"} <= first[0].keys()
    assert "grounding_kept" not in first[0]  # a fresh network has nothing to lose
    assert first[1]["weight_action"] == 0
    assert "action_loss" not in first[1]
    assert not Contract.read(ground.checkpoint_dir / "2" / "assets").saw_actions
    assert "answers of data 100.0%" in caplog.text

    policy = InspirePolicy.load(ground.checkpoint_dir)
    chunk = policy.infer(ROBOTS["libero"].fake_native())
    assert (chunk.actions, str(chunk.status)) == (None, "held")
    assert "does not act" in chunk.reason
    assert [(a.question, a.target) for a in chunk.answers][-2:] == [("trace", ""), ("movement", "")]
    assert policy.warm_up() > 0

    config = second_stage(ground)
    compute_stats(config)
    fit_tokenizers(config)
    with caplog.at_level(logging.INFO):
        train(config)
    second = lines(config)
    # Two steps teach no box: of nothing, no share is kept.
    assert second[0]["decoded_grounding"] == 0 or second[0]["grounding_kept"] == 1
    assert json.loads((config.checkpoint_dir / FILE).read_text(encoding="utf-8"))["step"] == 0
    # Of five rows four act and one answers with weight 0.4: a tenth.
    assert second[1]["weight_answer"] == pytest.approx(second[1]["weight_action"] / 10, rel=1e-3)
    assert "answers to actions 1 : 10.0" in caplog.text
    assert {"grad_norm_answers", "grad_norm_actions", "grad_cosine"} <= second[-1].keys()
    assert min(second[-1]["grad_norm_answers"], second[-1]["grad_norm_actions"]) > 0
    assert 0 < abs(second[-1]["grad_cosine"]) <= 1
    contract = Contract.read(config.checkpoint_dir / "2" / "assets")
    assert contract.saw_actions
    assert contract.build_script() == config.build_script()


def test_the_guard_compares_with_the_first_score(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def kept(step: int, mean: float) -> float | None:
        return share_kept(tmp_path / FILE, step, GroundingScore(mean=mean, questions={"box": mean}))

    assert kept(0, 0.5) == 1
    assert kept(10, 0.4) == pytest.approx(0.8)
    assert not caplog.records
    assert kept(20, 0.3) == pytest.approx(0.6)  # also after the run was resumed: the file stays
    assert "score 0.300, 60% of the 0.500 that this run began with" in caplog.text
    assert kept(30, float("nan")) is None
    assert kept(0, 0.0) is None  # a run from other weights, which know nothing


def test_the_loss_in_words() -> None:
    shares = {("acting", "answers"): 0.0, ("acting", "actions"): 10 / 11, ("grounding", "answers"): 1 / 11}
    said = described({**shares, ("grounding", "actions"): 0.0})
    assert said.startswith(
        "The loss is made of actions of acting 90.9%, answers of grounding 9.1%; answers to actions 1 "
    )
    assert "1 : 10.0" in said


def test_ids_of_actions_are_fixed_by_weights_that_saw_them(ground: TrainConfig, tmp_path: Path) -> None:
    """PaliGemma's file never saw actions; what has no contract is taken to have seen openpi's."""
    root = ground.data.root
    assert root is not None
    config = replace(
        load_config("st4vla_ground_libero"), data=replace(ground.data, root=root), init_from=tmp_path / "pt_224.npz"
    )
    assert config.skip == 1152
    assert not saw_actions(config)
    assert saw_actions(replace(config, dialogue=DialogueConfig(script="pi0_fast", questions=())))
    orbax = tmp_path / "base" / "params"
    orbax.mkdir(parents=True)
    (orbax / "_METADATA").touch()
    other = replace(config, init_from=tmp_path / "base")
    with pytest.raises(
        ValueError, match=r"vocab_skip=1152 gives actions other ids .* trained on actions with 128, as openpi"
    ):
        saw_actions(other)
    assert saw_actions(replace(other, tokenizers=replace(config.tokenizers, vocab_skip=128)))
    with pytest.raises(ValueError, match="vocab_skip=0 gives actions other ids"):
        replace(config, tokenizers=TokenizersConfig(vocab_skip=0), model=GEMMA_2B)


def test_a_part_has_a_script_of_its_own(ground: TrainConfig) -> None:
    part = parse('{"root": "a", "weight": 4, "script": "ground", "questions": ["box"], "loss_weight": 0.4}')
    assert part == DataPart(root=Path("a"), weight=4, script="ground", questions=("box",), loss_weight=0.4)
    assert parse(str(part)) == part
    config = second_stage(ground)
    acting, grounding = config.data.parts
    assert config.script_of(acting).acts
    assert not config.script_of(grounding).acts
    assert config.placement is not None  # labels are places, and the recipe crops and turns
    boxes = replace(config, dialogue=replace(config.dialogue, script_parameters={"spatial_prompt": "box"}))
    assert boxes.script_of(grounding) == config.script_of(grounding)  # `ground` has no such parameter
    heavier = replace(config, data=replace(config.data, parts=(acting, replace(grounding, loss_weight=1.0))))
    (line,) = settings_differences(jsonable(config), jsonable(heavier))
    assert line == "data.parts, grounding: loss_weight 0.4 and 1.0"
    with pytest.raises(ValueError, match="names a dataset twice"):
        replace(config.data, parts=(acting, replace(acting, name="again")))
    with pytest.raises(KeyError, match="Did you mean 'spatial_prompt'"):
        replace(config, dialogue=replace(config.dialogue, script_parameters={"spatial_promt": "box"}))
