"""Entry points of the console commands: `entry_points.<module>` runs `commands.<module>.main`.

A command is imported when it is called, so that a base install (without JAX and tyro) ends with one message that names
the missing extra.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
import importlib

# Import name of a package -> the extra of this project that installs it; every other one is in `train`.
_EXTRAS = {"h5py": "sim", "libero": "sim", "mujoco": "sim", "robosuite": "sim"}


def run(command: str, args: Sequence[str] | None = None) -> None:
    """Runs a command's `main`.

    Raises:
        SystemExit: a package of an extra is not installed, or the command ended.
    """
    try:
        main = importlib.import_module(f"inspire_fast.commands.{command}").main
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package == "inspire_fast":
            raise
        extra = _EXTRAS.get(package, "train")
        raise SystemExit(
            f"error: this command needs the package {package!r}, which is not installed. Add the extra {extra!r}: "
            f"`pip install 'inspire-fast[{extra}]'`, or `uv sync --extra {extra}` in a checkout."
        ) from None
    main(args)


def __getattr__(name: str) -> Callable[..., None]:
    if name.startswith("__"):
        raise AttributeError(name)
    return partial(run, name)
