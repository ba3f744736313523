"""Names of the commands, as messages give them: `uv run scripts/train.py` in a checkout, `inspire-train` elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CONSOLE_COMMANDS: Mapping[str, str] = {
    "check_dataset": "inspire-check-dataset",
    "check_robot": "inspire-check-robot",
    "compare_runs": "inspire-compare-runs",
    "compute_norm_stats": "inspire-norm-stats",
    "convert_dataset": "inspire-convert",
    "diagnose": "inspire-diagnose",
    "doctor": "inspire-doctor",
    "evaluate": "inspire-evaluate",
    "evaluate_held_out": "inspire-evaluate-held-out",
    "evaluation_report": "inspire-evaluation-report",
    "export_checkpoint": "inspire-export",
    "fit_tokenizers": "inspire-fit-tokenizers",
    "import_checkpoint": "inspire-import",
    "inspect_dataset": "inspire-inspect",
    "label_dataset": "inspire-label",
    "plan_run": "inspire-plan",
    "push_to_hub": "inspire-push",
    "record_demonstrations": "inspire-record",
    "repeat_demonstrations": "inspire-repeat",
    "serve_policy": "inspire-serve",
    "stop_arms": "inspire-stop-arms",
    "study": "inspire-study",
    "train": "inspire-train",
}
"""Module of `inspire_fast.commands` -> the console command that `pyproject.toml` makes of it."""
_CHECKOUT = Path(__file__).parents[2]


def command_line(command: str) -> str:
    """What a person types to run a command of this package.

    Args:
        command: module of `inspire_fast.commands`.

    Raises:
        KeyError: there is none.
    """
    console = CONSOLE_COMMANDS[command]
    script = f"scripts/{command}.py"
    return f"uv run {script}" if (_CHECKOUT / script).is_file() else console
