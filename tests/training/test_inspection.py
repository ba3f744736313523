"""What the inspection page says is what the run is taught."""

from dataclasses import replace
from pathlib import Path
import re

import numpy as np
import pytest

from inspire_fast.core.types import SceneFacts
from inspire_fast.data.facts import FactsTable, write_facts
from inspire_fast.data.testing import PHRASES, TASK, write_fake_dataset
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.training.config import DialogueConfig, TrainConfig
from inspire_fast.training.datasets.assets import compute_stats, fit_tokenizers
from inspire_fast.training.datasets.sources import open_source
from inspire_fast.training.inspection.page import draw_facts, write_page
from inspire_fast.training.inspection.samples import Inspection, inspect
from inspire_fast.training.named_configs import load_config
from tests.core.hostile import HOSTILE, require_harmless


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    root = tmp_path_factory.mktemp("inspect")
    write_fake_dataset(root / "dataset", episodes=4, frames=12)
    debug = load_config("debug")
    config = replace(debug, data=replace(debug.data, root=root / "dataset"), assets=root / "assets")
    compute_stats(config)
    fit_tokenizers(config)
    return config


@pytest.fixture(scope="module")
def inspection(config: TrainConfig) -> Inspection:
    return inspect(config, shown=5)


def test_counts_are_the_true_answers_of_every_sample(config: TrainConfig, inspection: Inspection) -> None:
    source = open_source(config, "train")
    assert inspection.samples == len(source) == sum(inspection.answers.values()) // len(PHRASES)
    question = config.build_script().questions[0]
    by_hand: dict[tuple[str, str], int] = {}
    for i in range(len(source)):
        sample = source[i]
        assert sample.facts is not None
        for target in sample.facts.targets:
            key = ("direction", question.truth(target))
            by_hand[key] = by_hand.get(key, 0) + 1
    assert dict(inspection.answers) == by_hand
    assert sum(inspection.by_task[TASK].values()) == sum(by_hand.values())


def test_texts_read_like_the_dialogue(inspection: Inspection) -> None:
    shown = inspection.shown[0]
    text = "".join(shown.texts)
    assert re.fullmatch(
        rf"Task: {TASK}, State: [\d -]+;\n(Question: In which direction is (the red block|the plate) relative to the "
        r"robot\? Answer: \w+;\n){2}Action: (\d+ )+\|",
        text,
    )


def test_the_page_holds_every_sample_with_its_ids(inspection: Inspection, tmp_path: Path) -> None:
    page = write_page(inspection, tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert page.count('class="sample">') == len(inspection.shown) == 5
    tokens = inspection.shown[0].rendered.tokens
    spans = re.search(r'<p class="ids">(.*?)</p>', page)
    assert spans is not None
    written = [int(i) for i in re.findall(r"\d+", re.sub(r"<[^>]*>", " ", spans[1]))]
    assert written == tokens.ids.tolist()
    assert len(re.findall('<span class="loss">', spans[1])) == tokens.supervised.sum()
    assert page.count('src="data:image/png') == 5 * len(inspection.shown[0].images)


def test_instructions_cannot_break_the_page(inspection: Inspection, tmp_path: Path) -> None:
    shown = inspection.shown[0]
    assert shown.facts is not None
    facts = replace(shown.facts, targets=(replace(shown.facts.targets[0], phrase=HOSTILE),))
    shown = replace(shown, part=HOSTILE, texts=(HOSTILE,) * len(shown.texts), facts=facts)
    shown = replace(shown, images={HOSTILE: next(iter(shown.images.values()))})
    by_task = {HOSTILE: {(HOSTILE, HOSTILE, HOSTILE): 1}}
    part = replace(inspection.parts[0], name=HOSTILE, skipped={0: HOSTILE}, by_task=by_task)
    hostile = replace(inspection, shown=(shown,), parts=(part, part))
    require_harmless(write_page(hostile, tmp_path / "page.html").read_text(encoding="utf-8"), shown=17)


def test_points_are_drawn_where_they_are(inspection: Inspection) -> None:
    facts = inspection.shown[0].facts
    assert facts is not None
    black = np.zeros((50, 100, 3), np.uint8)
    assert not draw_facts(black, facts, "base_0_rgb").any(), "without points nothing is drawn"
    target = replace(facts.targets[0], point_px=(0.5, 0.75))
    drawn = draw_facts(black, replace(facts, targets=(target,), gripper_px=(0.5, 0.25)), "base_0_rgb")
    rows, columns = np.nonzero(drawn.any(axis=-1))
    assert drawn.shape == (150, 300, 3)
    assert abs(rows.mean() - 75) < 2
    assert columns.min() == pytest.approx(75 - 150 // 40, abs=1)  # the gripper's ring
    assert columns.max() == pytest.approx(225 + 150 // 40, abs=1)  # the target's
    assert not draw_facts(black, replace(facts, targets=(target,)), "left_wrist_0_rgb").any()
    wrist = replace(facts, targets=(target,), camera="left_wrist_0_rgb")
    assert draw_facts(black, wrist, "left_wrist_0_rgb").any()
    assert not draw_facts(black, wrist, "base_0_rgb").any()


def test_boxes_and_paths_are_drawn_where_they_are(inspection: Inspection) -> None:
    facts = inspection.shown[0].facts
    assert facts is not None
    black = np.zeros((50, 100, 3), np.uint8)
    boxed = replace(facts, targets=(replace(facts.targets[0], box_px=(0.2, 0.1, 0.6, 0.4)),))
    rows, columns = np.nonzero(draw_facts(black, boxed, "base_0_rgb").any(axis=-1))
    np.testing.assert_allclose([rows.min(), rows.max(), columns.min(), columns.max()], [30, 90, 30, 120], atol=1)
    path = np.array([[0.5, 0.5], [0.5, 0.9]], np.float32)
    rows, columns = np.nonzero(draw_facts(black, replace(facts, trace_px=path), "base_0_rgb").any(axis=-1))
    assert columns.min() == pytest.approx(150, abs=2)
    assert columns.max() == pytest.approx(270, abs=3)
    assert set(range(150, 270)) <= set(columns.tolist())  # a line joins the points
    assert abs(rows.mean() - 75) < 2


def test_points_of_stored_labels_lie_in_the_padded_image(config: TrainConfig, tmp_path: Path) -> None:
    root = write_fake_dataset(tmp_path / "dataset", episodes=4, frames=12)
    stored = FactsTable.load(root)
    target = replace(stored.facts(0, 0).targets[0], point_px=(0.5, 1.0))
    frames = [SceneFacts(targets=(target, stored.facts(0, 0).targets[1]), gripper_px=(0.5, 0.0))] * 12
    write_facts(root, dict.fromkeys(range(4), frames), robot="libero", frame_description="world axes")
    shown = inspect(replace(config, data=replace(config.data, root=root)), shown=1).shown[0]
    black = np.zeros((100, 100, 3), np.uint8)
    drawn = draw_facts(
        black, shown.facts, "base_0_rgb", source_hw=(200, 100)
    )  # an upright image with 25 px of black at its side
    columns = np.nonzero(drawn.any(axis=-1))[1]
    assert shown.source_hw["base_0_rgb"] == (16, 16)
    assert columns.min() == pytest.approx(75 - 300 // 40, abs=1)
    assert columns.max() == pytest.approx(225 + 300 // 40, abs=1)


def test_counts_are_in_the_words_of_the_release(config: TrainConfig, tmp_path: Path) -> None:
    root = write_fake_dataset(tmp_path / "dataset", episodes=4, frames=12)
    released = replace(
        config, data=replace(config.data, root=root), dialogue=DialogueConfig(compatibility=("inspire_released",))
    )
    script = released.build_script()
    wanted = GROUNDINGS[script.grounding].ground(TASK)
    assert {target for target, _, _ in inspect(released, shown=1).by_task[TASK]} == {*wanted}
