"""Is this machine ready? `uv run scripts/doctor.py [--config <name>] [--checkpoint DIR] [--port 8000]`.

Looks at accelerators, memory, disk, rendering, tokenizers, dataset, checkpoint and port, and says what to do about what is
missing. Ends with status 1 when something that was asked for will not work.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from inspire_fast.training.config import load_config
from inspire_fast.training.preflight.doctor import examine


@dataclass(frozen=True, kw_only=True)
class Args:
    """What is wanted.

    Attributes:
        config: a named config that is to be trained.
        root: its dataset, instead of the one that it names.
        checkpoint: one that is to be served.
        port: that a server is to listen on.
    """

    config: str | None = None
    root: Path | None = None
    checkpoint: Path | None = None
    port: int = 8000


def main(args: Args) -> int:
    """Prints a line for each thing; the number of those that are bad."""
    config = load_config(args.config) if args.config else None
    if config is not None and args.root is not None:
        config = replace(config, data=replace(config.data, root=args.root, parts=()))
    bad = 0
    for finding in examine(config, args.checkpoint, args.port):
        print(f"{finding.level:5} {finding.what}: {finding.says}" + (f"\n      -> {finding.do}" if finding.do else ""))
        bad += finding.level == "bad"
    return bad


if __name__ == "__main__":
    try:
        found = main(tyro.cli(Args))
    except KeyError as error:
        raise SystemExit(f"error: {error.args[0]}") from error
    raise SystemExit(int(found > 0))
