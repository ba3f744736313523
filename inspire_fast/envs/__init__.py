"""Simulators as `Environment`s. Importing this room starts no simulator; creating an environment does."""

from inspire_fast.envs.gl import RenderingUnavailableError as RenderingUnavailableError
from inspire_fast.envs.libero.domain import LiberoSettings as LiberoSettings
from inspire_fast.envs.libero.environment import LiberoEnvironment as LiberoEnvironment
from inspire_fast.envs.libero.suites import SUITES as SUITES
from inspire_fast.envs.libero.suites import tasks as tasks
