"""Disturbances: seeded changes to a scene, in strengths 0..5, for measuring a policy's robustness."""

from inspire_fast.envs.libero.disturbances.disturbed import Disturbed as Disturbed
from inspire_fast.envs.libero.disturbances.disturbed import parse_disturbances as parse_disturbances
from inspire_fast.envs.libero.disturbances.registry import DISTURBANCES as DISTURBANCES
