"""Training configs as `ml_collections.ConfigDict`, for sweeps and for config files with a `get_config()`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from ml_collections import ConfigDict

from inspire_fast.core.errors import UnknownNameError
from inspire_fast.core.registry import unknown_name
from inspire_fast.training.config import TrainConfig
from inspire_fast.training.renamed_fields import renamed


def to_config_dict(config: TrainConfig) -> ConfigDict:
    """A config as a `ConfigDict` with the same fields; groups are nested, paths are strings.

        sweep = to_config_dict(load_config("debug"))
        sweep.optimizer.peak_lr = 3e-4
        config = from_config_dict(sweep)

    The values of tuples (`data.parts`, say) stay what they are.
    """
    return _to_dict(config)


def from_config_dict(values: ConfigDict) -> TrainConfig:
    """The config that a `ConfigDict` describes; fields that it leaves out have their defaults.

    Raises:
        ValueError: a value that the config refuses, or `name` or `data` is missing.
        KeyError: an unknown field; suggests the closest, or names the new name of an old one.
    """
    return _build(TrainConfig, values, "")


def _to_dict(value: Any) -> Any:
    if is_dataclass(value):
        return ConfigDict({f.name: _to_dict(getattr(value, f.name)) for f in fields(value)})
    if isinstance(value, Mapping):
        return ConfigDict({key: _to_dict(inner) for key, inner in value.items()})
    return str(value) if isinstance(value, Path) else value


def _build(kind: type, values: ConfigDict, prefix: str) -> Any:
    hints = get_type_hints(kind)
    for name in values:
        if name not in hints:
            path = f"{prefix}{name}"
            if (new := renamed(path)) != path:
                raise UnknownNameError(f"The field {path} is now {new}.")
            raise UnknownNameError(unknown_name(f"field of {kind.__name__}", name, list(hints)))
    given = {name: _convert(hints[name], values[name], f"{prefix}{name}.") for name in values}
    try:
        return kind(**given)
    except TypeError as error:  # a field without a default is missing
        raise ValueError(f"{kind.__name__} cannot be made from {sorted(given)}: {error}") from error


def _convert(hint: Any, value: Any, prefix: str) -> Any:
    """A value of a `ConfigDict` as the type of its field."""
    options = (hint, *get_args(hint))  # of a union, its members
    if isinstance(value, ConfigDict):
        kinds = [option for option in options if is_dataclass(option) and isinstance(option, type)]
        return _build(kinds[0], value, prefix) if kinds else value.to_dict()
    if isinstance(value, str) and Path in options and "://" not in value:
        return Path(value)
    return tuple(value) if isinstance(value, list) else value
