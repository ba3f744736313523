"""What holds for every test: tests never wait for a screen, a GPU's memory or a network, and warnings are errors.

Markers and the warnings filter are in pyproject.toml.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports JAX: a test takes the memory it needs, so that a server in a second process has some too.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# Before anything imports matplotlib: figures are written to files.
os.environ.setdefault("MPLBACKEND", "agg")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[1]
