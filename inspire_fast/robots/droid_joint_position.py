"""DROID's Panda commanded by joint positions: what openpi's `pi0_fast_full_droid_finetune` is trained on.

Keys, cameras and state are `droid`'s. Action: seven joint positions (rad), trained as deltas to the state, and the gripper's
position (0 open .. 1 closed).
"""

from dataclasses import replace

import numpy as np

from inspire_fast.robots.droid import DROID


def _stay(state: np.ndarray) -> np.ndarray:
    return state.copy()  # state and action are the same eight quantities


DROID_JOINT_POSITION = replace(
    DROID,
    name="droid_joint_position",
    action_names=DROID.state_names,
    action_low=DROID.state_low,
    action_high=DROID.state_high,
    hold_action=None,
    hold_at=_stay,
    delta=(True,) * 7 + (False,),
)
