"""FAST encoding and decoding against the straightforward route: `uv run python benchmarks/tokenizers.py [--quick]`.

The benchmark is `fast_tokenizer.py`. A script's folder comes first on Python's path, and this file has the name of a library:
imported from beside it, it steps aside for that library.
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
    importlib.import_module(__name__)  # the import system hands out what stands in `sys.modules` afterwards
