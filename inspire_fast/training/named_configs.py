"""Named configs: the files of `configs/`, each of which defines `CONFIG`, found by name and loaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from inspire_fast.core.errors import UnknownNameError
from inspire_fast.core.registry import unknown_name
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.renamed_fields import refuse_old_keyword


def config_folder() -> Path:
    """Folder of the named configs: those that the installed package brings, else `configs/` of the checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"  # a checkout has none there
    return installed if installed.is_dir() else package.parent / "configs"


def config_names() -> list[str]:
    """Every named config."""
    return sorted(p.stem for p in config_folder().glob("*.py") if not p.stem.startswith("_"))


def load_config(name: str | Path) -> TrainConfig:
    """A named config, or the config of a Python file.

    Example:
        >>> import inspire_fast as ifa
        >>> ifa.load_config("debug").batch_size
        4

    Args:
        name: of a file in `config_folder()`, or the path of any Python file (`.py`). The file defines `CONFIG`, a
            `TrainConfig`; or `get_config()`, which returns a `TrainConfig` or an `ml_collections.ConfigDict`.

    Raises:
        KeyError: no such file; suggests the closest name and lists all.
        ValueError: the file defines neither, or uses the old name of a field; or a named config's name is not its
            file's.
    """
    path = Path(name)
    named = path.suffix != ".py"
    if named:
        path = config_folder() / f"{name}.py"
        if not path.is_file():
            raise UnknownNameError(
                unknown_name("config", str(name), config_names()) + " The path of a .py file works too."
            )
    config = _from_file(path)
    if not isinstance(config, TrainConfig) or (named and config.name != name):
        raise ValueError(
            f"{path} must define CONFIG = TrainConfig(name={path.stem!r}, ...), or get_config(), which returns that or "
            f"a ConfigDict; got {config!r:.80}."
        )
    return config


def _from_file(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"configs.{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise UnknownNameError(f"There is no config file {path}.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return _config_of(module)
    except TypeError as error:
        refuse_old_keyword(error, path)
        raise


def _config_of(module: ModuleType) -> Any:
    if not hasattr(module, "get_config"):
        return getattr(module, "CONFIG", None)
    from ml_collections import ConfigDict

    from inspire_fast.training.config_dict import from_config_dict

    config = module.get_config()
    return from_config_dict(config) if isinstance(config, ConfigDict) else config
