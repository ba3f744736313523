"""What holds for every test: tests never wait for a screen, a GPU's memory or a network, and warnings are errors.

Markers and the warnings filter are in pyproject.toml.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
import logging
import os
from pathlib import Path
import signal
import tempfile
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, settings
from jaxtyping import install_import_hook
import pytest

if TYPE_CHECKING:
    from inspire_fast.envs import LiberoEnvironment

# Before anything imports JAX: a test takes the memory it needs, so that a server in a second process has some too.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# Compiling is most of what tests of networks take. XLA's older emitters without LLVM's optimisation compile four times
# as fast; what they make is as right, and slower. `XLA_FLAGS=` (empty) tests with those that users have. jaxlib 0.11
# has the newer emitters only, and ends any process that is given a flag that it does not know.
OLDER_EMITTERS = tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11)
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0" + " --xla_cpu_use_fusion_emitters=false" * OLDER_EMITTERS
)
# Before anything imports matplotlib: figures are written to files.
os.environ.setdefault("MPLBACKEND", "agg")
# A loaded machine is slow, which is no failure; and the default run tries the same examples every time.
# `HYPOTHESIS_PROFILE=search` looks for new ones.
settings.register_profile("default_run", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "few", settings.get_profile("default_run"), max_examples=25, phases=(Phase.explicit, Phase.generate)
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default_run"))

# Shapes that these modules declare are checked whenever a test calls or traces them. Modules with pytree dataclasses of
# arrays are left out: JAX builds those with leaves of any type.
SHAPES_CHECKED_IN = (
    *("inference.attention_maps", "inference.build", "inference.kernels", "inference.merge_lora", "inference.model"),
    *("block", "gemma", "layers", "lora", "pi0_fast", "sequence", "siglip"),
)
install_import_hook([f"inspire_fast.models.{name}" for name in SHAPES_CHECKED_IN], "beartype.beartype")


def pytest_configure(config: pytest.Config) -> None:
    """Programs that take long to compile are compiled once per run of the tests, whatever process needs them."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # workers of pytest-xdist have it from their parent
        folder = tempfile.TemporaryDirectory(prefix="inspire-fast-programs-")
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"


# Files that take longest, the longest first: they begin before the others, so that two workers end at the same time.
# (pytest-xdist begins with the files of most tests instead, unless `--no-loadscope-reorder` is given.)
LONGEST = (
    "training/test_train.py",
    "golden/test_network.py",
    "policy/test_decoder.py",
    "golden/test_gradients.py",
    "serving/test_action_tokenizers.py",
    "training/test_freeze.py",
    "models/test_cached_decoding.py",
    "labeling/test_record.py",
    "golden/test_decoding.py",
    "training/test_learning.py",
    "models/test_inference.py",
    "models/test_lora.py",
    "test_front_door.py",
    "evaluation/test_evaluate.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the longest files first; within a file the order stays."""
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(autouse=True)
def process_is_left_as_found() -> Iterator[None]:
    """What commands set in the test's process is taken back: what signals do, and how logging is configured."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {logger: (logger.level, logger.disabled) for logger in loggers()}
    yield
    for number, before in signals.items():
        signal.signal(number, before)
    root.handlers[:] = handlers
    for logger in loggers():
        level, logger.disabled = levels.get(logger, (logging.NOTSET, False))
        logger.setLevel(level)


def loggers() -> list[logging.Logger]:
    """The root and every logger that was asked for so far."""
    known = logging.root.manager.loggerDict.values()
    return [logging.root, *(each for each in known if isinstance(each, logging.Logger))]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def soup() -> Iterator[LiberoEnvironment]:
    """The first task of libero_object, shared: building a simulator takes seconds, a reset a fraction of one."""
    from inspire_fast.envs import LiberoEnvironment, LiberoSettings

    environment = LiberoEnvironment("libero_object", 0, LiberoSettings(camera_hw=(96, 128)))
    yield environment
    environment.close()
