"""A small LeRobot policy by `export_lerobot`, for `check_lerobot_network.py` to read in LeRobot's environment.

    PYTHONPATH=. python tests/external/write_lerobot_policy.py FOLDER

`FOLDER/policy` has the parameters of `tests/checkpoints/data/lerobot_pi0_fast`, `FOLDER/tokenizer` the tiny text
tokenizer as Hugging Face's `GemmaTokenizer` reads it.
"""

from __future__ import annotations

from pathlib import Path
import sys
import tempfile

from inspire_fast.checkpoints import lerobot_exporting
from tests.checkpoints.lerobot_policies import SMALL, small_policy, write_tokenizer


def main() -> None:
    """Writes both folders."""
    (out,) = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    lerobot_exporting.ARCHITECTURE = SMALL
    with tempfile.TemporaryDirectory() as folder:
        lerobot_exporting.export_lerobot(small_policy(Path(folder) / "0"), out / "policy")
    write_tokenizer(out / "tokenizer")


if __name__ == "__main__":
    main()
