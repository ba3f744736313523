"""Export of a checkpoint: a folder that openpi loads, or a safetensors file."""

from functools import partial
from pathlib import Path

from inspire_fast.checkpoints import exporting
from inspire_fast.checkpoints.exporting import Lora
from inspire_fast.checkpoints.params.orbax import Layout
from inspire_fast.core.cli import run_command
from inspire_fast.models.config import DType


def export_checkpoint(
    *,
    checkpoint: Path,
    out: Path,
    layout: Layout = "released",
    dtype: DType | None = None,
    lora: Lora = "keep",
    base: Path | None = None,
) -> None:
    """Writes a checkpoint as a folder that openpi loads, or as a safetensors file.

    Args:
        checkpoint: a step's folder, or a run's (then its latest step).
        out: a new folder, or a new .safetensors file.
        layout: of the folder; openpi reads both.
        dtype: of the parameters; as stored by default.
        lora: keep the low-rank updates, merge them into their weights, or write only what was trained.
        base: full checkpoint below a LoRA-only one.
    """
    if out.suffix == ".safetensors":
        if layout != "released":
            raise ValueError("--layout would have no effect: a .safetensors file has one layout. Leave it out.")
        print(exporting.export_safetensors(checkpoint, out, dtype=dtype, lora=lora, base=base))
    else:
        print(exporting.export_checkpoint(checkpoint, out, layout=layout, dtype=dtype, lora=lora, base=base))


main = partial(run_command, export_checkpoint)
