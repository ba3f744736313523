"""Every number of every setting has a range, and a value outside it is refused where the object is made."""

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
import math
from pathlib import Path
import re
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest

from inspire_fast.checkpoints.lerobot_importing import LerobotOptions
from inspire_fast.checkpoints.openpi_configs import OpenpiConfig
from inspire_fast.commands import evaluate, import_checkpoint, record_demonstrations, serve_policy
from inspire_fast.core.policy import RequestOptions
from inspire_fast.core.ranges import Count, Positive, Range, has_range, require_ranges
from inspire_fast.data.chunks import ChunkConfig
from inspire_fast.data.loader import LoaderConfig
from inspire_fast.dialogue.questions import QUESTIONS
from inspire_fast.envs.libero.domain import LiberoSettings
from inspire_fast.envs.libero.experts.controller import Variation
from inspire_fast.envs.libero.experts.trials import TrialSpec
from inspire_fast.evaluation.diagnosis.diagnose import DiagnosisOptions
from inspire_fast.evaluation.run.protocols import PROTOCOLS
from inspire_fast.labeling.demonstrations.libero_hdf5 import Hdf5Options
from inspire_fast.labeling.demonstrations.record import RecordSpec
from inspire_fast.labeling.hindsight.assignment import HindsightOptions
from inspire_fast.labeling.llava_rows import LlavaOptions
from inspire_fast.models.config import LoraConfig
from inspire_fast.robots import ROBOTS
from inspire_fast.robots.arms.stream import StreamConfig
from inspire_fast.robots.arms.testing import IdealArm
from inspire_fast.robots.cameras.base import CameraSpec
from inspire_fast.robots.cameras.recorded import RecordedPictures
from inspire_fast.robots.control.runtime import LoopConfig
from inspire_fast.robots.control.session import SessionConfig
from inspire_fast.serving.config import ServerConfig
from inspire_fast.serving.recording import RecordingLimits
from inspire_fast.tokenizers.fast.processor import ProcessorSettings
from inspire_fast.training.dataset_config import DataPart
from inspire_fast.training.named_configs import load_config

PACKAGE = Path(__file__).parents[2] / "inspire_fast"
SETTINGS = re.compile(
    r".*(Config|Options|Settings|Limits|Spec|Protocol|Args|Dropout)|Args|Objective|DataPart|Replay|Variation|"
    r"Direction|Direction3D|Distance|FineDistance|Position3D"
)
DEMO = load_config("demo")
EXAMPLES: list[Any] = [
    DEMO,
    *(getattr(DEMO, f.name) for f in fields(DEMO) if hasattr(getattr(DEMO, f.name), "__dataclass_fields__")),
    *(DEMO.data.question_dropout, DEMO.model.vision, DEMO.model.language, LoraConfig(rank=2)),
    *(DataPart(root=Path("a")), ChunkConfig(), LoaderConfig(batch_size=1, seed=0, shuffle=True), RequestOptions()),
    *(QUESTIONS[name](axes=ROBOTS["libero"].axes) for name in QUESTIONS),
    *(
        ServerConfig(),
        RecordingLimits(),
        LoopConfig(execute=1, max_steps=1),
        ProcessorSettings(scale=1, min_token=0, max_token=1),
        OpenpiConfig(robot="libero", horizon=1, max_token_len=1, asset_id="a"),
        LerobotOptions(robot="libero"),
        import_checkpoint.Args(source="a", out=Path("b")),
    ),
    *(
        PROTOCOLS["quick"],
        PROTOCOLS["simpler_google"],
        LiberoSettings(),
        TrialSpec(),
        Variation(),
        Hdf5Options(),
        LlavaOptions(pictures=Path("a"), dialect="llava", wordings=("box: {object}",)),
        HindsightOptions(),
    ),
    *(
        RecordSpec(tasks=(("libero_object", 0),), episodes=1),
        record_demonstrations.Args(tasks=("a:0",), root=Path("a")),
    ),
    *(evaluate.EvaluationOptions(), evaluate.Args(), serve_policy.ServeArgs()),
    serve_policy.Replay(root=Path("a"), robot="libero"),
    StreamConfig(),
    CameraSpec(camera=RecordedPictures(Path("a"))),
    IdealArm().connect().limits,
    SessionConfig(loop=LoopConfig(execute=1, max_steps=1), prompt="a"),
    DiagnosisOptions(),
]


@cache
def settings_classes() -> dict[str, ast.ClassDef]:
    """Every dataclass of the package with a name of a setting, by file and name."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    return {
        f"{path.relative_to(PACKAGE)}:{node.name}": node
        for path, text in texts.items()
        if "\n@dataclass" in text
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef) and SETTINGS.fullmatch(node.name) and node.decorator_list
    }


def bare_numbers(annotation: ast.expr) -> bool:
    """Whether `int` or `float` is in an annotation outside of `Annotated[...]` and `Callable[...]`."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) in ("Annotated", "Callable"):
        return False
    if isinstance(annotation, ast.Name):
        return annotation.id in ("int", "float")
    return any(bare_numbers(child) for child in ast.iter_child_nodes(annotation) if isinstance(child, ast.expr))


def test_every_number_of_every_setting_has_a_range() -> None:
    found = settings_classes()
    assert len(found) > 30
    bare = [
        f"{name}.{ast.unparse(field.target)}"
        for name, node in found.items()
        for field in node.body
        if isinstance(field, ast.AnnAssign) and bare_numbers(field.annotation)
    ]
    assert not bare, "declare a range (inspire_fast/core/ranges.py)"


def test_every_setting_with_a_range_is_tried_below() -> None:
    """And nothing has a name of a setting without being one of them."""
    numeric = re.compile(r"\b(Count|Natural|Seed|Port|Positive|NotNegative|Fraction|Finite|Decay|Range|Speed)\b")
    named = {
        node.name
        for node in settings_classes().values()
        if any(isinstance(f, ast.AnnAssign) and numeric.search(ast.unparse(f.annotation)) for f in node.body)
    }
    assert named <= {kind.__name__ for example in EXAMPLES for kind in type(example).__mro__}


def outside(hint: Any) -> Iterator[Any]:
    """Values that a type refuses."""
    if get_origin(hint) is Annotated:
        for extra in (e for e in get_args(hint)[1:] if isinstance(e, Range)):
            yield from (math.nan, math.inf, True, "1")
            if get_args(hint)[0] is int:
                yield 1.5
            if math.isfinite(extra.low):
                yield extra.low if extra.without_low else extra.low - 1
            if math.isfinite(extra.high):
                yield extra.high if extra.without_high else extra.high + 1
    elif get_origin(hint) in (tuple, Collection, Sequence):
        arguments = [a for a in get_args(hint) if a is not ...]
        if len(arguments) == 1:
            yield from ((value,) for value in outside(arguments[0]))
        else:
            yield from (tuple([value] * len(arguments)) for value in outside(arguments[-1]))
    elif get_origin(hint) is Mapping:
        yield from ({"a": value} for value in outside(get_args(hint)[1]))
    else:
        for option in get_args(hint):
            yield from outside(option)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_a_number_outside_its_range_is_refused(example: Any) -> None:
    kind = type(example)
    hints = {f.name: get_type_hints(kind, include_extras=True)[f.name] for f in fields(example)}
    for name, hint in hints.items():
        if has_range(hint):
            values = [*outside(hint)]
            if not values or name == "tasks":  # a tuple of pairs
                values = [(("a", -1),)]
            for value in values:
                with pytest.raises(ValueError, match=rf"{kind.__name__}\.{name}.* must be a (whole )?number, "):
                    replace(example, **{name: value})


def test_messages_say_what_came_and_what_was_expected() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        steps: Count | None = None
        shares: Mapping[str, Annotated[float, Range(0, 1, without_high=True)]] | None = None
        sizes: tuple[Positive, ...] = ()

        def __post_init__(self) -> None:
            require_ranges(self)

    Settings(steps=3, shares={"a": 0.0}, sizes=(1, 2.5))
    for given, words in (
        ({"steps": 0}, r"Settings\.steps must be a whole number, at least 1; got 0\."),
        (
            {"shares": {"a": 0.5, "b": 1.0}},
            r"Settings\.shares\['b'\] must be a number, at least 0 and below 1; got 1\.0",
        ),
        ({"sizes": (1.0, 0.0)}, r"Settings\.sizes\[1\] must be a number, above 0; got 0\.0\."),
    ):
        with pytest.raises(ValueError, match=words):
            Settings(**given)
