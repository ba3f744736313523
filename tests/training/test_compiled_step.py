"""Properties of the compiled training step on eight simulated devices, and of the reader of compiled programs."""

import json
import os
from pathlib import Path
import subprocess
import sys

from inspire_fast.training.preflight.program_text import arrays_of, collectives, kernels, unsplit

PROGRAM = """HloModule jit_step, entry_computation_layout={()->f32[]}

%fused (p: f32[88,4,4]) -> f32[88,4,4] {
  ROOT %inner = f32[88,4,4]{2,1,0} add(%p, %p)
}

%body (x: (s32[], bf16[2,4])) -> (s32[], bf16[2,4]) {
  %gathered = bf16[16,4]{1,0} all-gather(%part), dimensions={0}, metadata={op_name="jit(step)/gate"}
  ROOT %both = (s32[], bf16[2,4]{1,0}) tuple(%i, %part)
}

%condition (x: (s32[], bf16[2,4])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main () -> f32[] {
  %kept = f32[88,4,4]{2,1,0} fusion(%a), kind=kLoop, calls=%fused
  %loop = (s32[], bf16[2,4]{1,0}) while(%t), condition=%condition, body=%body, config={"known_trip_count":{"n":"18"}}
  ROOT %sums = (f32[3]{0}, f32[2,2]{1,0}) all-reduce(%b, %c), to_apply=%add
}
"""


def test_a_program_is_read_with_its_loops_and_fusions() -> None:
    arrays = arrays_of(PROGRAM)
    assert collectives(arrays) == {"all-gather": (18, 18 * 16 * 4 * 2), "all-reduce": (2, 4 * (3 + 4))}
    assert [(str(a), a.fused) for a in unsplit(arrays, 88)] == [("f32[88,4,4]", True), ("f32[88,4,4]", False)]
    assert kernels(PROGRAM) == 1 + 18 * 2 + 1  # the fusion; gathering and the condition in each turn; the sum
    assert next(a.source for a in arrays if a.op == "all-gather") == "jit(step)/gate"


def test_eight_devices_share_state_batch_and_activations(root: Path) -> None:
    """FSDP as it is meant: weights are gathered and gradients reduced; no device sees another one's rows."""
    program = root / "benchmarks" / "compiled_programs.py"
    done = subprocess.run(
        [sys.executable, str(program), "--simulated"],
        capture_output=True,
        encoding="utf-8",
        timeout=280,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(root),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8",  # the program as users compile it
        },
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == 8
    assert found["batch_unsplit_arrays"] == 0
    assert found["state_bytes_ratio_8_devices"] <= 0.16
    assert found["activation_bytes_ratio_8_devices"] <= 1.25
    # Each weight is gathered for the forward and the backward pass, and its gradient reduced: three times its bytes.
    # On top come ids and their embeddings.
    assert found["collective_bytes_over_parameter_bytes"] <= 4.0
    assert sum(kind["count"] for kind in found["collectives"].values()) <= 250
