"""FAST encoding and decoding, ours and the public processor's: `uv run python benchmarks/tokenizers.py [--quick]`.

The benchmark is `fast_tokenizer.py`. Python puts a script's folder first on its path, and this file has the name of a
library: when the library is imported, this file makes way for it.
"""

import importlib
from pathlib import Path
import runpy
import sys

HERE = Path(__file__).resolve().parent
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != HERE]

if __name__ == "__main__":
    runpy.run_path(str(HERE / "fast_tokenizer.py"), run_name="__main__")
else:
    del sys.modules[__name__]
    importlib.import_module(__name__)  # the import system returns the entry of `sys.modules`
