"""At which instant an observation is taken: at the end of a control step, or when robosuite 1.4 takes it.

robosuite's observables are sampled at the first physics step after their timer has run out, and each forced update (two in
openpi's loop: one in the reset, one when the initial state is set) sets the timer forward by one physics step. So what
openpi's client sees was true at the 24th of the 25 physics steps of a control step, 2 ms before its end. Figures that
are to be comparable see the same.
"""

from __future__ import annotations

from collections.abc import Mapping
import importlib
from typing import Any, Literal

import numpy as np

Sampling = Literal["end", "robosuite"]
_FORCED_UPDATES = 2
# What a picture and the proprioception are made of. (mujoco's Python bindings offer no copy into existing data.)
_FIELDS = (
    *("qpos", "qvel", "xpos", "xquat", "xmat", "xipos", "ximat", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat"),
    *("cam_xpos", "cam_xmat", "light_xpos", "light_xdir"),
)


class Sampled:
    """A copy of the simulator's data from the instant that robosuite would show.

    Args:
        domain: LIBERO's environment; its observables are replaced by one that takes the copy.
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
        """Sets the timer as it stands in openpi's loop once an episode's initial state is set."""
        self._observable.reset()
        for _ in range(_FORCED_UPDATES):
            self._observable.update(timestep=self._domain.model_timestep, obs_cache={}, force=True)


def copy_of(data: Any) -> dict[str, np.ndarray]:
    """What a picture and the proprioception are made of, of mujoco.MjData as it is now."""
    return {name: getattr(data, name).copy() for name in _FIELDS}


def show(data: Any, instant: Mapping[str, np.ndarray]) -> None:
    """Writes a copy into other data, which then looks as the simulator did."""
    for name, values in instant.items():
        getattr(data, name)[:] = values
