"""Weights & Biases tracker. Needs the extra `wandb`, and a login or `WANDB_MODE=offline` (and `wandb sync` later)."""

from __future__ import annotations

from collections.abc import Mapping
import json
import os
from pathlib import Path
import secrets
from typing import Any, final

import numpy as np

from inspire_fast.core.files import write_text
from inspire_fast.core.html import element
from inspire_fast.training.trackers.base import Tracker
from inspire_fast.training.trackers.metric_names import tag

ID_FILE = "wandb_id"
PROJECT = "inspire_fast"


@final
class WandbTracker(Tracker):
    """One run of the project that `WANDB_PROJECT` names, by default `inspire_fast`.

    Its id is stored in `<run>/wandb_id`, so that a resumed run continues the same charts. W&B refuses steps that it has
    already: steps between the checkpoint and the kill keep their first values, which a resumed run repeats exactly.
    Offline, each start writes a new folder with the same id; send them in their order.

    Raises:
        ValueError: W&B cannot start: nobody is logged in, or there is no network; names the remedy.
    """

    def __init__(self, folder: Path, *, config: Mapping[str, Any], run_name: str) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                id=run_id(folder),
                resume="allow",
                name=run_name,
                dir=str(folder),
                config=json.loads(json.dumps(config, default=str)),
                settings=wandb.Settings(console="off"),  # keeps the progress bar out of the log
            )
        except wandb.Error as error:
            raise ValueError(
                f"Weights & Biases could not start: {error}\nLog in with `wandb login`, or set WANDB_MODE=offline and "
                f"send the run later with `wandb sync {folder}/wandb/offline-run-*`, or leave the tracker `wandb` out."
            ) from error
        self._image, self._html = wandb.Image, wandb.Html

    def scalars(self, step: int, row: Mapping[str, float]) -> None:
        """All metrics of one step."""
        self._run.log({tag(name): value for name, value in row.items()}, step=step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """As PNG."""
        self._run.log({name: self._image(image, file_type="png")}, step=step)

    def text(self, step: int, name: str, markdown: str) -> None:
        """As plain text, because W&B's charts show no Markdown."""
        self._run.log({name: self._html(element("pre", markdown))}, step=step)

    def close(self, *, failed: bool = False) -> None:
        """Waits until everything is sent; a failed run is marked as failed."""
        self._run.finish(exit_code=int(failed))


def run_id(folder: Path) -> str:
    """The id in `<run>/wandb_id`, which is created when it is missing."""
    file = folder / ID_FILE
    if not file.exists():
        write_text(file, secrets.token_hex(4))
    return file.read_text(encoding="utf-8").strip()
