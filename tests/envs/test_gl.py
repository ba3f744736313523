import pytest

from inspire_fast.envs.gl import RenderingUnavailableError, check_variables, require_rendering


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"CUDA_VISIBLE_DEVICES": "3", "MUJOCO_EGL_DEVICE_ID": "0"}, "MUJOCO_EGL_DEVICE_ID=0 is not in CUDA_VISIBLE"),
        ({"MUJOCO_EGL_DEVICE_ID": "GPU-1"}, "MUJOCO_EGL_DEVICE_ID='GPU-1' must be the number"),
        ({"MUJOCO_EGL_DEVICE_ID": ""}, "MUJOCO_EGL_DEVICE_ID='' must be the number"),
        ({"MUJOCO_GL": "vulkan"}, "MUJOCO_GL=vulkan is no back end"),
    ],
)
def test_variables_that_mujoco_or_robosuite_would_fail_on(variables, says):
    with pytest.raises(RenderingUnavailableError, match=says) as error:
        check_variables(variables)
    assert "nset" in str(error.value)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"CUDA_VISIBLE_DEVICES": "3"},
        {"CUDA_VISIBLE_DEVICES": "0,3", "MUJOCO_EGL_DEVICE_ID": "3"},
        {"CUDA_VISIBLE_DEVICES": "", "MUJOCO_EGL_DEVICE_ID": "7"},
        {"MUJOCO_GL": " EGL "},
        {"MUJOCO_GL": "disable"},
    ],
)
def test_variables_that_work(variables):
    check_variables(variables)


def test_a_window_needs_a_screen(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(RenderingUnavailableError, match="MUJOCO_GL=glfw needs a screen"):
        require_rendering()
    monkeypatch.setenv("DISPLAY", ":0")
    require_rendering()
