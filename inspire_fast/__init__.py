"""FAST-tokenized pi0 policies that answer spatial questions before they act: trained, served and evaluated in JAX.

    import inspire_fast as ifa

    policy = ifa.load_policy("checkpoints/libero")
    chunk = policy.infer(ifa.ROBOTS["libero"].fake_native())
    chunk.actions, chunk.answers

Names load when they are first used: importing the package imports no JAX.
"""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast import checkpoints as checkpoints
    from inspire_fast import client as client
    from inspire_fast import commands as commands
    from inspire_fast import core as core
    from inspire_fast import data as data
    from inspire_fast import dialogue as dialogue
    from inspire_fast import envs as envs
    from inspire_fast import evaluation as evaluation
    from inspire_fast import labeling as labeling
    from inspire_fast import models as models
    from inspire_fast import policy as policy
    from inspire_fast import robots as robots
    from inspire_fast import serving as serving
    from inspire_fast import study as study
    from inspire_fast import testing as testing
    from inspire_fast import tokenizers as tokenizers
    from inspire_fast import training as training
    from inspire_fast.client.websocket_client import PolicyClient as PolicyClient
    from inspire_fast.commands.evaluate import evaluate as evaluate
    from inspire_fast.core.policy import RequestOptions as RequestOptions
    from inspire_fast.core.types import ActionChunk as ActionChunk
    from inspire_fast.data.lerobot.dataset import LeRobotDataset as LeRobotDataset
    from inspire_fast.dialogue.questions.registry import QUESTIONS as QUESTIONS
    from inspire_fast.policy.load import load_policy as load_policy
    from inspire_fast.robots.registry import ROBOTS as ROBOTS
    from inspire_fast.serving.serve import serve as serve
    from inspire_fast.training.config import TrainConfig as TrainConfig
    from inspire_fast.training.loop import train as train
    from inspire_fast.training.named_configs import load_config as load_config

__version__ = "0.1.0"

__getattr__, __dir__ = lazy_exports(__name__)
