"""Instant of an observation: the end of a control step, or the instant at which robosuite 1.4 samples its observables.

robosuite samples an observable at the first physics step after its timer has run out, and each forced update (two in
openpi's loop: one in the reset, one when the initial state is set) advances the timer by one physics step. openpi's
client therefore sees the 24th of the 25 physics steps of a control step, 2 ms before its end. Results that are compared
with openpi's need the same instant.
"""

from __future__ import annotations

from collections.abc import Mapping
import importlib
from typing import Any, Literal

import numpy as np

Sampling = Literal["end", "robosuite"]
_FORCED_UPDATES = 2
# Fields from which images and proprioception are computed. mujoco's bindings cannot copy whole data into existing data.
_FIELDS = (
    *("qpos", "qvel", "xpos", "xquat", "xmat", "xipos", "ximat", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat"),
    *("cam_xpos", "cam_xmat", "light_xpos", "light_xdir"),
)


class Sampled:
    """A copy of the simulator's data at the instant of robosuite's observables.

    Args:
        domain: LIBERO's environment; its observables are replaced by one that makes the copy.
    """

    def __init__(self, domain: Any) -> None:
        from robosuite.utils.observables import Observable

        mujoco: Any = importlib.import_module("mujoco")
        self._domain = domain
        self.data = mujoco.MjData(domain.sim.model._model)

        def copy(_: object) -> np.ndarray:
            show(self.data, copy_of(domain.sim.data._data))
            return np.zeros(1)

        copy.__modality__ = "none"
        self._observable: Any = Observable(name="copy", sensor=copy, sampling_rate=domain.control_freq)
        domain._observables = {"copy": self._observable}

    def begin(self) -> None:
        """Sets the timer to its value in openpi's loop after an episode's initial state is set."""
        self._observable.reset()
        for _ in range(_FORCED_UPDATES):
            self._observable.update(timestep=self._domain.model_timestep, obs_cache={}, force=True)


def copy_of(data: Any) -> dict[str, np.ndarray]:
    """The fields of the present mujoco.MjData that images and proprioception are computed from."""
    return {name: getattr(data, name).copy() for name in _FIELDS}


def show(data: Any, instant: Mapping[str, np.ndarray]) -> None:
    """Writes a copy into other data, which then shows that instant."""
    for name, values in instant.items():
        getattr(data, name)[:] = values
