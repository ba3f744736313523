"""The contract of a checkpoint: everything except the parameters that decides what its numbers mean.

`contract.json` is in the checkpoint's `assets` folder, with the tokenizers' files and the normalisation statistics. A
policy is built from it alone, and refuses what does not match.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
import inspect
import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

import inspire_fast
from inspire_fast.core.errors import UnknownNameError
from inspire_fast.core.registry import Registry, unknown_name
from inspire_fast.data.normalization.normalizer import Normalisation, Normalizer
from inspire_fast.data.normalization.stats import NormStats
from inspire_fast.dialogue.questions import QUESTIONS, Question
from inspire_fast.dialogue.script import SCRIPTS, Script
from inspire_fast.dialogue.vocabulary import Vocabulary
from inspire_fast.models.config import ModelConfig
from inspire_fast.robots import ROBOTS
from inspire_fast.tokenizers.registry import load_action_tokenizer
from inspire_fast.tokenizers.text.tokenizer import TextTokenizer

FILE = "contract.json"
FORMAT = 2
_REMEDY = "Copy the checkpoint's file again, or make the checkpoint anew."
COMPATIBILITY: Registry[str] = Registry(
    "compatibility option",
    {
        "openpi_decode": "openpi's own decoding: any id may come, the first one is a position too late, hidden cameras "
        "shift what is seen, and rows stop together",
        "inspire_released": "the text that the released InSpire-FAST checkpoints were trained on: its order of "
        "targets, its rewrites, no EOS, loss on direction words inside the questions",
    },
)


def build_script(
    name: str,
    questions: tuple[Question, ...],
    *,
    max_targets: int | None,
    compatibility: tuple[str, ...],
    parameters: Mapping[str, Any] | None = None,
) -> Script:
    """A named script with its questions and options, for training and inference alike.

    Raises:
        KeyError: the script has no such parameter; suggests the closest.
        ValueError: a value that the script refuses.
    """
    make, given = SCRIPTS[name], dict(parameters or {})
    own = [p for p in inspect.signature(make).parameters if p not in ("questions", "max_targets", "released")]
    for parameter in given:
        if parameter not in own:
            raise UnknownNameError(unknown_name(f"parameter of script {name!r}", parameter, own))
    return make(*questions, max_targets=max_targets, released="inspire_released" in compatibility, **given)


def stored_questions(questions: tuple[Question, ...]) -> tuple[dict[str, Any], ...]:
    """Questions as a contract keeps them."""
    return tuple({"name": q.name, "parameters": q.parameters()} for q in questions)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Everything that a policy is built from, except the parameters.

    Attributes:
        robot, script, action_tokenizer: registry names.
        questions: `{"name": ..., "parameters": ...}` each, in the order in which they are asked about a target.
        max_targets: see `Script`.
        script_parameters: further arguments of the script.
        saw_actions: whether these weights, or those that they came from, were trained on actions: then the ids of
            actions are fixed. Contracts of earlier versions do not say; theirs were.
        horizon: actions per chunk.
        max_token_len: ids that a training row has room for.
        model: the network's architecture.
        vocab_size, vocab_skip: see `Vocabulary`.
        text_fingerprint, action_fingerprint: hashes of the tokenizers' files.
        stats: key (`state`, `actions`) -> statistic -> values.
        normalisation, delta, periods: see `Normalizer`. Contracts of earlier versions have no periods: their angles
            were trained as numbers on a line, and are read so.
        control_hz: rate that the actions are meant for, of the training data; 0 where it is not known.
        image_orientation: of the images that the network was trained on.
        asset_id: folder of `norm_stats.json`, as openpi lays it out.
        config: the training config, for the record.
        compatibility: names of `COMPATIBILITY`: upstream behaviour that is reproduced instead of the right one.
        package_version: that wrote the checkpoint.
        revision: of the code that trained it, as git names it, with `-dirty` where files were changed; empty where it
            was no checkout.
    """

    robot: str
    script: str
    questions: tuple[Mapping[str, Any], ...]
    horizon: int
    model: ModelConfig
    action_tokenizer: str
    vocab_size: int
    vocab_skip: int
    text_fingerprint: str
    action_fingerprint: str
    stats: Mapping[str, Mapping[str, list[float] | None]]
    image_orientation: str
    asset_id: str
    max_token_len: int = 256
    max_targets: int | None = None
    normalisation: Normalisation = "quantile"
    delta: tuple[bool | float, ...] = ()
    periods: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    control_hz: float = 0.0
    config: Mapping[str, Any] = field(default_factory=dict)
    script_parameters: Mapping[str, Any] = field(default_factory=dict)
    saw_actions: bool = True
    compatibility: tuple[str, ...] = ()
    package_version: str = inspire_fast.__version__
    revision: str = ""
    format: int = FORMAT

    def __post_init__(self) -> None:
        for name in self.compatibility:
            COMPATIBILITY[name]  # raises with a suggestion
        require_asset_id(self.asset_id)
        robot = ROBOTS[self.robot]
        if self.image_orientation != robot.image_orientation:
            raise ValueError(
                f"The checkpoint was trained on {self.image_orientation!r} images; robot {self.robot!r} now delivers "
                f"{robot.image_orientation!r} ones."
            )
        if unseen := set(robot.cameras.values()) - set(self.model.cameras):
            raise ValueError(
                f"Robot {self.robot!r} has the cameras {sorted(unseen)}, which the network does not see; it sees "
                f"{sorted(self.model.cameras)}. Set model.cameras, or choose a robot with fewer."
            )
        self._require_statistics({"state": robot.state_dim, "actions": robot.action_dim})
        self._require_openpi_decodes()

    def _require_statistics(self, dims: Mapping[str, int]) -> None:
        """Refuses statistics and a delta mask that are not of the robot's dimensions."""
        for key, dim in dims.items():
            have = len(self.stats.get(key, {}).get("mean") or ())
            if have != dim:
                raise ValueError(
                    f"Statistics of {key!r} have {have} dimensions; robot {self.robot!r} has {dim}. They are another "
                    "robot's."
                )
        if len(self.delta) > min(dims.values()):  # the rule of `delta_actions`, which would refuse every chunk
            raise ValueError(
                f"delta names {len(self.delta)} dimensions; robot {self.robot!r} has {dims}, and a mask is no longer "
                "than the shorter."
            )
        if self.normalisation == "quantile" and any(self.stats[key].get("q01") is None for key in dims):
            raise ValueError("The statistics have no quantiles, which normalisation 'quantile' needs.")
        self.normalizer()  # an unknown kind and unusable statistics are refused here

    def _require_openpi_decodes(self) -> None:
        """Refuses a script that openpi's decoding cannot follow, here rather than when the policy is loaded."""
        if "openpi_decode" in self.compatibility:
            script = self.build_script()
            if script.questions or not script.acts:
                raise ValueError(
                    f"openpi_decode writes plain pi0-FAST actions; script {self.script!r} asks questions or does not "
                    "act. Leave the option out, or choose a config without questions."
                )

    def build_script(self) -> Script:
        """The script with its questions, as trained."""
        questions = tuple(QUESTIONS[q["name"]](**q["parameters"]) for q in self.questions)
        return build_script(
            self.script,
            questions,
            max_targets=self.max_targets,
            compatibility=self.compatibility,
            parameters=self.script_parameters,
        )

    def normalizer(self) -> Normalizer:
        """Of state and actions, as trained."""
        stats = {
            key: NormStats(**{name: np.asarray(v, np.float64) for name, v in entry.items() if v is not None})
            for key, entry in self.stats.items()
        }
        return Normalizer(stats=stats, kind=self.normalisation, delta=self.delta, periods=self.periods)

    def differences(self, other: Contract) -> list[str]:
        """What makes the numbers of two checkpoints mean different things; room, configs and versions may differ."""
        free = {"config", "package_version", "revision", "max_token_len", "saw_actions"}
        if not (self.control_hz and other.control_hz):  # earlier versions did not write it
            free.add("control_hz")
        mine, theirs = (dict(_leaves(_plain(asdict(contract)))) for contract in (self, other))
        found: dict[str, list[str]] = {}
        for path in dict.fromkeys((*mine, *theirs)):
            key = path.partition(".")[0]
            if key not in free and mine.get(path, "nothing") != theirs.get(path, "nothing"):
                line = f"{path}: {mine.get(path, 'nothing')!r:.60} and {theirs.get(path, 'nothing')!r:.60}"
                found.setdefault(key, []).append(line)
        return [
            lines[0] + (f" (and {len(lines) - 1} more in {key})" if len(lines) > 1 else "")
            for key, lines in found.items()
        ]

    def to_json(self) -> str:
        """JSON text of the contract."""
        # As earlier versions wrote it:
        unknown = {name for name in ("periods", "control_hz", "script_parameters") if not getattr(self, name)}
        unknown |= {"saw_actions"} if self.saw_actions else set()
        known = {name: value for name, value in asdict(self).items() if name not in unknown}
        return json.dumps(known, indent=2, sort_keys=True, default=str)

    @classmethod
    def from_json(cls, text: str | bytes, *, origin: str = FILE) -> Contract:
        """Reads `to_json`'s text.

        Args:
            text: the file's content.
            origin: the file, for messages.

        Raises:
            ValueError: no contract, one of another format, damaged, or one that this version cannot keep.
        """
        try:
            stored = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{origin} is not JSON, or cut off: {error}. {_REMEDY}") from error
        _require_format(stored, origin)
        _require_fields(stored, origin)
        try:
            stored["model"] = ModelConfig.from_dict(stored["model"])
            for name in ("compatibility", "delta", "questions"):
                stored[name] = tuple(stored.get(name, ()))
            stored["periods"] = {name: tuple(values) for name, values in stored.get("periods", {}).items()}
            return cls(**stored)
        except (TypeError, AttributeError, KeyError) as error:
            reason = error.args[0] if isinstance(error, KeyError) else error
            raise ValueError(f"{origin} holds a field that cannot be used: {reason}. {_REMEDY}") from error
        except ValueError as error:
            raise ValueError(f"{origin}: {error}") from error

    @classmethod
    def read(cls, assets: Path) -> Contract:
        """Reads `contract.json` of an assets folder.

        Raises:
            FileNotFoundError: the checkpoint has none (openpi's have none: they must be imported).
            ValueError: see `from_json`.
        """
        path = assets / FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"No {FILE} in {assets}. A checkpoint of this package carries one; one of openpi's must be imported "
                "first."
            )
        return cls.from_json(path.read_bytes(), origin=str(path))

    def load_vocabulary(self, assets: Path) -> Vocabulary:
        """Loads the tokenizers from the contract's folder.

        Raises:
            ValueError: a file is not the one that the network was trained with.
        """
        text = TextTokenizer.load(assets)
        action = load_action_tokenizer(self.action_tokenizer, assets)
        for name, found, trained in (
            ("text", text.fingerprint, self.text_fingerprint),
            ("action", action.fingerprint, self.action_fingerprint),
        ):
            if found != trained:
                raise ValueError(
                    f"The {name} tokenizer in {assets} has hash {found[:12]}, the checkpoint was trained with "
                    f"{trained[:12]}. Restore the original file."
                )
        return Vocabulary(text=text, action=action, size=self.vocab_size, skip=self.vocab_skip)


def require_asset_id(asset_id: str) -> None:
    """Refuses a name that would lead out of a checkpoint's `assets`, or that names no folder in it.

    Raises:
        ValueError: it is absolute, climbs with `..`, or is empty.
    """
    path = PurePosixPath(asset_id)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in asset_id:
        raise ValueError(
            "An asset id is a folder below a checkpoint's `assets`, such as 'droid' or "
            f"'physical-intelligence/libero'; got {asset_id!r}. Leave out '..' and a leading '/'."
        )


def _require_format(stored: Any, origin: str) -> None:
    found = stored.get("format") if isinstance(stored, dict) else None
    if not isinstance(found, int):
        held = f"the fields {sorted(stored)[:12]}" if isinstance(stored, dict) else f"a {type(stored).__name__}"
        raise ValueError(f"{origin} is no contract: expected an object with the number `format`, got {held}. {_REMEDY}")
    if found < FORMAT:
        raise ValueError(
            f"{origin} has format {found} and was written by an earlier version (inspire-fast "
            f"{stored.get('package_version', 'unknown')}); this version ({inspire_fast.__version__}) reads format "
            f"{FORMAT}. Use the earlier version, or train or import the checkpoint again with this one "
            "(`inspire-train`, `inspire-import`)."
        )
    if found > FORMAT:
        raise ValueError(
            f"{origin} has format {found} (inspire-fast {stored.get('package_version', 'unknown')}); this version "
            f"({inspire_fast.__version__}) reads format {FORMAT}. Update inspire-fast."
        )


def _require_fields(stored: Mapping[str, Any], origin: str) -> None:
    known = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(Contract)}
    wrong = {
        "missing": [name for name, required in known.items() if required and name not in stored],
        "unknown": [name for name in stored if name not in known],
        "null": [name for name in stored if stored[name] is None and name in known and name != "max_targets"],
    }
    if any(wrong.values()):
        found = "; ".join(f"{kind}: {', '.join(sorted(names))}" for kind, names in wrong.items() if names)
        raise ValueError(f"{origin} does not have a contract's fields ({found}). {_REMEDY}")


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of everything inside plain data that is no container; empty containers count."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not items:
        yield path, value
    for key, inner in items:
        yield from _leaves(inner, f"{path}.{key}" if path else str(key))


def _plain(value: Any) -> Any:
    """A value as it is after a trip through JSON."""
    return json.loads(json.dumps(value))
