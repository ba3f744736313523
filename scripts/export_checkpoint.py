"""Hands a checkpoint on: as a folder that openpi loads, or as a safetensors file.

uv run scripts/export_checkpoint.py --checkpoint checkpoints/demo/default --out exported
uv run scripts/export_checkpoint.py --checkpoint checkpoints/demo/default --out policy.safetensors --dtype bfloat16
"""

from dataclasses import dataclass
from pathlib import Path
import sys

import tyro

from inspire_fast.checkpoints.exporting import Lora, export_checkpoint, export_safetensors
from inspire_fast.checkpoints.params.orbax import Layout
from inspire_fast.core.cli import require_unused
from inspire_fast.models.config import DType


@dataclass(frozen=True, kw_only=True)
class Args:
    """What to export; see `export_checkpoint`.

    Attributes:
        checkpoint: a step of ours, or a run, whose latest step counts.
        out: a new folder, or a new .safetensors file.
        layout: which of openpi's two; it reads both.
        dtype: of the parameters; as stored by default.
        lora: keep the low-rank updates, merge them into their weights, or write only what was trained.
        base: a full checkpoint that a LoRA-only one stands on.
    """

    checkpoint: Path
    out: Path
    layout: Layout = "released"
    dtype: DType | None = None
    lora: Lora = "keep"
    base: Path | None = None


def main(args: Args) -> None:
    """Exports, and says where it lies."""
    if args.out.suffix == ".safetensors":
        require_unused(args, {"layout"}, "a .safetensors file has one layout")
        written = export_safetensors(args.checkpoint, args.out, dtype=args.dtype, lora=args.lora, base=args.base)
    else:
        written = export_checkpoint(
            args.checkpoint, args.out, layout=args.layout, dtype=args.dtype, lora=args.lora, base=args.base
        )
    print(written)


if __name__ == "__main__":
    try:
        main(tyro.cli(Args))
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        raise SystemExit(2) from error
