"""Check of this machine: accelerators, memory, disk, rendering, tokenizers, dataset, checkpoint and port."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from inspire_fast.core.cli import run_command
from inspire_fast.training.named_configs import load_config
from inspire_fast.training.preflight.doctor import examine


def doctor(
    *, config: str | None = None, root: Path | None = None, checkpoint: Path | None = None, port: int = 8000
) -> int:
    """Prints what this machine lacks and what to do about it; status 1 if something that was asked for will not work.

    Args:
        config: a named config that is to be trained.
        root: its dataset, instead of the one that it names.
        checkpoint: a checkpoint that is to be served.
        port: that a server is to listen on.
    """
    chosen = load_config(config) if config else None
    if chosen is not None and root is not None:
        chosen = replace(chosen, data=replace(chosen.data, root=root, parts=()))
    bad = 0
    for finding in examine(chosen, checkpoint, port):
        print(f"{finding.level:5} {finding.what}: {finding.says}" + (f"\n      -> {finding.do}" if finding.do else ""))
        bad += finding.level == "bad"
    return int(bad > 0)


main = partial(run_command, doctor)
