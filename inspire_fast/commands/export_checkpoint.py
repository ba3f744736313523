"""Export of a checkpoint: a folder that openpi loads, a LeRobot policy's folder, or a safetensors file."""

from functools import partial
from pathlib import Path
from typing import Literal

from inspire_fast.checkpoints import exporting
from inspire_fast.checkpoints.exporting import Lora
from inspire_fast.checkpoints.lerobot_exporting import export_lerobot
from inspire_fast.checkpoints.params.orbax import Layout
from inspire_fast.core.cli import run_command
from inspire_fast.models.config import DType

Format = Literal["openpi", "safetensors", "lerobot"]


def export_checkpoint(
    *,
    checkpoint: Path,
    out: Path,
    format: Format | None = None,
    layout: Layout = "released",
    dtype: DType | None = None,
    lora: Lora = "keep",
    base: Path | None = None,
) -> None:
    """Writes a checkpoint as a folder that openpi loads, as a LeRobot `pi0_fast` policy, or as a safetensors file.

    Args:
        checkpoint: a step's folder, or a run's (then its latest step).
        out: a new folder, or a new .safetensors file.
        format: what is written; by default a safetensors file where `out` says so, else openpi's folder.
        layout: of openpi's folder; openpi reads both.
        dtype: of the parameters; as stored by default.
        lora: keep the low-rank updates, merge them into their weights, or write only what was trained.
        base: full checkpoint below a LoRA-only one.
    """
    kind = format or ("safetensors" if out.suffix == ".safetensors" else "openpi")
    if (kind == "safetensors") != (out.suffix == ".safetensors"):
        raise ValueError(f"--format {kind} and --out {out} differ: a safetensors file ends in .safetensors, no folder.")
    if kind != "openpi" and layout != "released":
        raise ValueError(f"--layout would have no effect: {kind} has one layout. Leave it out.")
    if kind == "safetensors":
        print(exporting.export_safetensors(checkpoint, out, dtype=dtype, lora=lora, base=base))
    elif kind == "lerobot":
        print(export_lerobot(checkpoint, out, dtype=dtype, lora=lora, base=base))
    else:
        print(exporting.export_checkpoint(checkpoint, out, layout=layout, dtype=dtype, lora=lora, base=base))


main = partial(run_command, export_checkpoint)
