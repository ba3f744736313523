from collections.abc import Iterator

import pytest

from inspire_fast.envs import LiberoEnvironment, LiberoSettings


@pytest.fixture(scope="package")
def soup() -> Iterator[LiberoEnvironment]:
    """One real simulator for the whole room: making it takes seconds, resetting it a fraction of one."""
    environment = LiberoEnvironment("libero_object", 0, LiberoSettings(camera_hw=(96, 128)))
    yield environment
    environment.close()
