"""The making of ManiSkill 3's WidowX environments, on a GPU or with the software renderer SwiftShader.

On a CPU three things are in the way. Mesa's software renderer lacks an extension that SAPIEN asks for, so SwiftShader
is named to Vulkan's loader, as Debian's `chromium-common` has it. ManiSkill splits the name of a device on the PCI bus
at its colon, so it gets the device itself. And SAPIEN computes a table of its shader on the device, which takes more
than a minute there, so the cameras get one from here before their first picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import contextlib
import ctypes
import functools
import importlib
import json
import os
from pathlib import Path
import sys
import tempfile
from typing import Any

import numpy as np

from inspire_fast.envs.gl import RenderingUnavailableError

_DRIVER = ("VK_ICD_FILENAMES", "VK_DRIVER_FILES")
_SWIFTSHADER = ("/usr/lib/chromium/libvk_swiftshader.so", "/usr/lib/chromium-browser/libvk_swiftshader.so")
_NVIDIA = ("/usr/share/vulkan/icd.d/nvidia_icd.json", "/etc/vulkan/icd.d/nvidia_icd.json")
_INSTALL = "Debian and Ubuntu names: `apt-get install libvulkan1 chromium-common libegl1 libgl1 libx11-6`"
_TASKS = Path("data/tasks/bridge_v2_real2sim_dataset")
SRDF = Path("data/robots/widowx/wx250s.srdf")
"""Which links of the arm may touch; ManiSkill's own assets have it."""


def make_environment(name: str) -> Any:
    """An unwrapped ManiSkill 3 environment of one scene.

    Raises:
        RenderingUnavailableError: no Vulkan driver, or no assets; says what to install or to set.
    """
    assets_folder()
    software = choose_driver()
    gymnasium: Any = importlib.import_module("gymnasium")
    module: Any = importlib.import_module("mani_skill.envs.sapien_env")
    importlib.import_module("mani_skill.envs")  # registers the tasks
    with _software_rendering(module) if software else contextlib.nullcontext() as setup_sensors:
        made = gymnasium.make(name, obs_mode="rgb+segmentation", num_envs=1, sim_backend="physx_cpu").unwrapped
    if setup_sensors is not None:
        made._setup_sensors = functools.partial(setup_sensors, made)  # for resets that build the scene anew
    return made


def assets_folder() -> Path:
    """The folder that `MS_ASSET_DIR` names, checked for what the WidowX tasks need.

    Raises:
        RenderingUnavailableError: not set, or no such assets in it.
    """
    named = os.environ.get("MS_ASSET_DIR", "")
    folder = Path(named)
    if not named or not (folder / _TASKS).is_dir():
        raise RenderingUnavailableError(
            f"SimplerEnv's assets are missing: MS_ASSET_DIR={named!r} must name a folder that holds {_TASKS}. "
            "`python -m mani_skill.utils.download_asset bridge_v2_real2sim` (and widowx250s) fetches them where the "
            "network allows it."
        )
    return folder


def choose_driver() -> bool:
    """Names SwiftShader to Vulkan's loader if there is no other driver; whether pictures are rendered by software.

    A driver that the environment variables name stays.

    Raises:
        RenderingUnavailableError: Vulkan's loader or a driver is missing, or SAPIEN was imported before.
    """
    try:
        ctypes.CDLL("libvulkan.so.1")
    except OSError as error:
        raise RenderingUnavailableError(f"Pictures need Vulkan, and it does not load: {error}. {_INSTALL}.") from error
    named = [os.environ[key] for key in _DRIVER if os.environ.get(key)]
    if named:
        return any("swiftshader" in Path(path).name for files in named for path in files.split(os.pathsep))
    if any(Path(path).exists() for path in _NVIDIA):
        return False
    library = next((path for path in _SWIFTSHADER if Path(path).exists()), None)
    if library is None:
        raise RenderingUnavailableError(f"Pictures need a Vulkan driver, and there is none. {_INSTALL}.")
    if "sapien" in sys.modules:
        raise RenderingUnavailableError(
            "SAPIEN was imported before a Vulkan driver was chosen, and it reads VK_ICD_FILENAMES only once. Make the "
            "environment first, or set VK_ICD_FILENAMES before the process starts."
        )
    driver = {"library_path": library, "api_version": "1.1.0"}
    with tempfile.NamedTemporaryFile("w", suffix="_swiftshader_icd.json", delete=False, encoding="utf-8") as file:
        json.dump({"file_format_version": "1.0.0", "ICD": driver}, file)
    os.environ["VK_ICD_FILENAMES"] = file.name
    return True


@contextlib.contextmanager
def _software_rendering(module: Any) -> Iterator[Callable[[Any, Any], None]]:
    """ManiSkill makes environments that render on the CPU; yields its function that sets up their cameras."""
    sapien: Any = importlib.import_module("sapien")
    textures: list[Any] = []
    parse, setup = module.parse_sim_and_render_backend, module.BaseEnv._setup_sensors

    def parse_backend(sim: str, render: str) -> Any:
        _ = render
        info = parse(sim, "none")
        info.render_device, info.render_backend = sapien.Device("pci:0"), "sapien_cpu"
        return info

    def setup_sensors(environment: Any, options: Any) -> None:
        setup(environment, options)
        if not textures:
            texture = sapien.render.RenderTexture(brdf_table(), 2, "R32G32B32A32Sfloat", address_mode="edge")
            textures.append(texture)
        for sensor in environment._sensors.values():
            for camera in sensor.camera._render_cameras:
                camera.set_texture("BRDFLUT", textures[0])

    module.parse_sim_and_render_backend, module.BaseEnv._setup_sensors = parse_backend, setup_sensors
    try:
        yield setup_sensors
    finally:
        module.parse_sim_and_render_backend, module.BaseEnv._setup_sensors = parse, setup


def brdf_table(size: int = 64, samples: int = 128) -> np.ndarray:
    """Split-sum table of a shader with GGX microfacets: scale and bias of the Fresnel term, `[size, size, 4]`.

    Rows are roughness, columns the cosine between normal and view, both at the middle of a pixel; channels 2 and 3 are
    0 and 1 (Karis, "Real Shading in Unreal Engine 4", 2013).
    """
    at = (np.arange(size) + 0.5) / size
    alpha, cosine = at[:, None, None] ** 2, at[None, :, None]  # [r, 1, 1], [1, v, 1]
    turn = 2 * np.pi * (np.arange(samples) + 0.5) / samples
    height = np.array([int(f"{n:032b}"[::-1], 2) / 2**32 for n in range(samples)])  # van der Corput's sequence
    half_z = np.sqrt((1 - height) / (1 + (alpha**2 - 1) * height))
    half_x = np.sqrt(1 - half_z**2) * np.cos(turn)
    view_half = np.maximum(half_x * np.sqrt(1 - cosine**2) + half_z * cosine, 0)
    light_z = np.maximum(2 * view_half * half_z - cosine, 0)

    def visible(z: np.ndarray) -> np.ndarray:
        return z / (z * (1 - alpha / 2) + alpha / 2)

    weight = visible(cosine) * visible(light_z) * view_half / np.maximum(half_z * cosine, 1e-6) * (light_z > 0)
    fresnel = (1 - view_half) ** 5
    table = np.zeros((size, size, 4), np.float32)
    table[..., 0], table[..., 1] = (weight * (1 - fresnel)).mean(-1), (weight * fresnel).mean(-1)
    table[..., 3] = 1
    return table
