"""Choice of the OpenGL back end that renders without a screen.

The choice must come before the import of mujoco, which reads `MUJOCO_GL` only once.
"""

from __future__ import annotations

from collections.abc import Mapping
import contextlib
import ctypes
import os
import sys

INSTALL_HINT = (
    "Install one of these with your system's package manager (Debian and Ubuntu names): "
    "`apt-get install libegl1 libgl1` (EGL; a GPU's driver or Mesa's software renderer) or "
    "`apt-get install libosmesa6 libgl1` (OSMesa; software). To step the simulator without ever rendering, "
    "set MUJOCO_GL=disable."
)
_BACKENDS = ("egl", "osmesa", "glfw", "glx", "cgl", "wgl", "enable", "enabled", "on", "true", "1")
_OFF = ("disable", "disabled", "off", "false", "0")
_OSMESA_SONAMES = ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")


class RenderingUnavailableError(RuntimeError):
    """No OpenGL back end works without a screen, or rendering is switched off."""


def choose_backend() -> str:
    """Sets `MUJOCO_GL` for this process (and the ones it starts) and returns it.

    A value that is already set stays. Otherwise it is `egl` if a device answers, else `osmesa`. On macOS mujoco has one
    back end, `cgl`.

    Raises:
        RenderingUnavailableError: neither works, or variables contradict each other; says what to install or to set.
        RuntimeError: mujoco was imported before, with another back end.
    """
    check_variables(os.environ)
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if chosen:
        return chosen
    if sys.platform == "darwin":
        return "cgl"
    backend = "egl" if _egl_works() else "osmesa" if _load(*_OSMESA_SONAMES) else None
    if backend is None:
        raise RenderingUnavailableError(f"Neither EGL nor OSMesa works on this machine. {INSTALL_HINT}")
    if "mujoco" in sys.modules:
        raise RuntimeError(
            "mujoco was imported before the rendering back end was chosen, and it reads MUJOCO_GL only once. "
            f"Set MUJOCO_GL={backend} in the environment, or import mujoco after creating the environment."
        )
    os.environ["MUJOCO_GL"] = backend
    return backend


def check_variables(environ: Mapping[str, str]) -> None:
    """Refuses values on which mujoco or robosuite would fail with an error of their own.

    Raises:
        RenderingUnavailableError: names the variable, its value, and what to set.
    """
    backend = environ.get("MUJOCO_GL", "").strip().lower()
    if backend and backend not in (*_BACKENDS, *_OFF):
        raise RenderingUnavailableError(
            f"MUJOCO_GL={backend} is no back end of mujoco's. Unset it, or set it to egl, osmesa or disable."
        )
    device, visible = environ.get("MUJOCO_EGL_DEVICE_ID"), environ.get("CUDA_VISIBLE_DEVICES", "")
    if device is not None and not device.isdigit():
        raise RenderingUnavailableError(
            f"MUJOCO_EGL_DEVICE_ID={device!r} must be the number of an EGL device. Unset it to use the first one."
        )
    if device is not None and visible and device not in visible:  # robosuite asserts exactly this when it is imported
        raise RenderingUnavailableError(
            f"MUJOCO_EGL_DEVICE_ID={device} is not in CUDA_VISIBLE_DEVICES={visible}, and robosuite insists on it. "
            "Unset MUJOCO_EGL_DEVICE_ID to render on the first device, or set it to one of CUDA_VISIBLE_DEVICES."
        )


def require_rendering() -> None:
    """Checks that `MUJOCO_GL` neither switches rendering off nor asks for a screen that is not there.

    Raises:
        RenderingUnavailableError: it does.
    """
    backend = os.environ.get("MUJOCO_GL", "").strip().lower()
    if backend in _OFF:
        raise RenderingUnavailableError(
            f"Cameras cannot be rendered: MUJOCO_GL={backend} switches rendering off. "
            "Unset it, or set it to egl or osmesa, before the process starts."
        )
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if backend in ("glfw", "glx") and sys.platform == "linux" and not screen:
        raise RenderingUnavailableError(
            f"Cameras cannot be rendered: MUJOCO_GL={backend} needs a screen, and DISPLAY is not set. "
            "Unset MUJOCO_GL, or set it to egl or osmesa, before the process starts."
        )


def _load(*sonames: str) -> ctypes.CDLL | None:
    """The first library that loads."""
    for soname in sonames:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(soname)
    return None


def _egl_works() -> bool:
    """Whether EGL and desktop GL load, and EGL offers a device (GPU or software) for contexts without a screen."""
    egl = _load("libEGL.so.1", "libEGL.so")
    if egl is None or _load("libGL.so.1", "libOpenGL.so.0") is None:
        return False
    egl.eglGetProcAddress.restype = ctypes.c_void_p
    egl.eglGetProcAddress.argtypes = [ctypes.c_char_p]
    address = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    if not address:
        return False
    query = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int))(address)
    count = ctypes.c_int(0)
    return bool(query(0, None, ctypes.byref(count))) and count.value > 0
