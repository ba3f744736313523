"""Queue of a study: recordings, preparations, trainings and evaluations, each once, in folders of their own.

runs/studies/questions/
    study.json             definition, code and data that the results are of; others are refused
    stages.json            finished stages with their seconds
    data/object/           recordings
    assets/inspire/        statistics and tokenizers of an arm
    inspire-0/checkpoints/ of the run with seed 0
    inspire-0/seen-own/    evaluation under condition `seen` with the policy's own answers
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
import hashlib
import json
from pathlib import Path
from typing import Any

from inspire_fast.core.files import write_json
from inspire_fast.core.stages import Stage, command, finished_stages
from inspire_fast.data.facts import DatasetIdentity
from inspire_fast.data.lerobot.meta import load_meta
from inspire_fast.evaluation.records.records import differences
from inspire_fast.study.definition import Condition, Run, Study

CLAIM, STAGES = "study.json", "stages.json"
# Rooms whose code decides a run's outcome. Reports, commands and the server may change.
_DECIDES = ("checkpoints", "data", "dialogue", "envs", "models", "policy", "robots", "tokenizers", "training")
_DECIDES_TOO = ("labeling/demonstrations", "evaluation/run")
_COMMAND = "import sys; from inspire_fast.commands.entry_points import run; run(sys.argv[1], sys.argv[2:])"


def stages(study: Study, out: Path) -> list[Stage]:
    """Every stage, in order; results of earlier runs come before later runs begin."""
    listed = [
        Stage(name=f"record {name}", title=f"demonstrations {name}", run=partial(_record, study, out, name))
        for name in study.recordings
    ]
    for run in study.runs:
        prepare = f"prepare {run.arm.name}"
        if prepare not in [stage.name for stage in listed]:
            listed.append(Stage(name=prepare, title=prepare, run=partial(_prepare, study, out, run)))
        train = f"train {run.name}"
        listed.append(Stage(name=train, title=train, run=partial(_train, study, out, run)))
        for condition in study.conditions:
            for answering in condition.sources(run.arm):
                name = f"evaluate {run.name} {condition.name} {answering}"
                evaluate = partial(_evaluate, study, out, run, condition, answering)
                listed.append(Stage(name=name, title=name, run=evaluate))
    return listed


def evaluation_folder(out: Path, run: Run, condition: Condition, answering: str) -> Path:
    """Folder of an evaluation's records."""
    return out / run.name / f"{condition.name}-{answering}"


def require_same(study: Study, out: Path, *, recorded: str | None = None) -> None:
    """Writes what the results are of into the folder, or compares. Arms, seeds and conditions may be added or left out.

    Args:
        study: definition.
        out: folder.
        recorded: a recording that is finished though its stage is not yet.

    Raises:
        ValueError: definition, code or data differ from those of the runs in the folder; names the differences.
    """
    path, now = out / CLAIM, _identity(study, out, recorded)
    before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for part, known in before.items():
        if isinstance(known, dict):  # additions are no differences, and what was left out is kept
            now[part] = {**{key: value for key, value in known.items() if key not in now[part]}, **now[part]}
    common = {part: {k: v for k, v in now[part].items() if k in before[part]} for part in before if part in now}
    if differing := list(differences(before, common)):
        raise ValueError(
            f"{out} holds runs of another study; choose another folder, or go back to the code and data of these.\n  "
            + "\n  ".join(differing)
        )
    write_json(path, now)


def _identity(study: Study, out: Path, recorded: str | None) -> dict[str, Any]:
    done = finished_stages(out / STAGES)
    data = {
        name: asdict(DatasetIdentity.of(load_meta(_root(out, name))))
        for name in study.recordings
        if name == recorded or f"record {name}" in done
    }
    definition = {
        "all": {
            key: list(value) if isinstance(value, tuple) else value
            for key in ("name", "steps", "episodes", "evaluation")
            for value in [getattr(study, key)]
        },
        "recordings": {name: list(words) for name, words in study.recordings.items()},
        "arms": {arm.name: asdict(arm) for arm in study.arms},
        "conditions": {condition.name: asdict(condition) for condition in study.conditions},
    }
    return json.loads(json.dumps({**definition, "data": data, "code": {"sha256": _code_digest()}}))


def _code_digest() -> str:
    """Hash of the modules that decide a run's outcome."""
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    for room in (*_DECIDES, *_DECIDES_TOO):
        for path in sorted((package / room).rglob("*.py")):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _root(out: Path, name: str) -> Path:
    return out / "data" / name


def _command(name: str, *words: object) -> None:
    command("-c", _COMMAND, name, *words)


def _record(study: Study, out: Path, name: str) -> None:
    _command("record_demonstrations", *study.recordings[name], "--root", _root(out, name))
    require_same(study, out, recorded=name)


def _config(study: Study, out: Path, run: Run) -> list[object]:
    parts = [_root(out, name) for name in study.recordings]
    data = ("--data.root", *parts) if len(parts) == 1 else ("--data.parts", *parts)
    folders = ("--assets", out / "assets" / run.arm.name, "--checkpoint.root", out / run.name / "checkpoints")
    return [run.arm.config, *data, *folders, "--steps", study.steps, "--seed", run.seed, *run.arm.options]


def _prepare(study: Study, out: Path, run: Run) -> None:
    for name in ("compute_norm_stats", "fit_tokenizers"):
        _command(name, *_config(study, out, run))


def _train(study: Study, out: Path, run: Run) -> None:
    _command("train", *_config(study, out, run), "--resume")


def _evaluate(study: Study, out: Path, run: Run, condition: Condition, answering: str) -> None:
    checkpoints = out / run.name / "checkpoints" / run.arm.config / "default"
    words = ("--checkpoint", checkpoints, "--answers", answering, "--tasks", *condition.tasks)
    folder = ("--episodes", study.episodes, "--out", evaluation_folder(out, run, condition, answering))
    _command("evaluate", *words, *folder, *study.evaluation, *condition.options)
