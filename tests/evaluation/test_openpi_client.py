"""Our client under protocol `openpi` against openpi's own published loop, in the real simulator."""

from pathlib import Path
import subprocess
import sys

import numpy as np
from openpi_client import image_tools, msgpack_numpy
import pytest

from inspire_fast.client.codec import pack
from inspire_fast.client.messages import request_to_wire
from inspire_fast.core.policy import RequestOptions
from inspire_fast.evaluation.run.openpi_view import present
from inspire_fast.evaluation.run.protocols import PROTOCOLS
from inspire_fast.evaluation.run.runner import Job
from inspire_fast.robots import ROBOTS


@pytest.mark.sim
@pytest.mark.slow
def test_the_first_request_is_openpis_byte_for_byte(tmp_path: Path, root: Path) -> None:
    """Episode 2, so that the order of the random draws matters: fixtures are placed as in openpi's third episode."""
    theirs = tmp_path / "request"
    script = root / "tests/evaluation/openpi_client_loop.py"
    command = [sys.executable, str(script), "libero_spatial", "3", "2", str(theirs)]
    process = subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL)  # robosuite's noise at exit
    environment = Job(protocol=PROTOCOLS["openpi"], policy={}).environment("libero_spatial", 3)
    try:
        environment.reset(2)
        ours = environment.observe()
    finally:
        environment.close()
    assert process.wait(timeout=200) == 0
    upstream = msgpack_numpy.unpackb(theirs.read_bytes())
    assert list(upstream) == list(ours)
    for key in ("observation/image", "observation/wrist_image", "observation/state"):
        np.testing.assert_array_equal(ours[key], upstream[key], err_msg=key)
    assert pack(request_to_wire(ours, RequestOptions())) == theirs.read_bytes()
    assert ours["observation/image"].shape == (224, 224, 3)
    assert ours["observation/image"].std() > 20
    ROBOTS["libero"].canonical(ours)  # and our server takes it


def test_a_picture_of_any_orientation_is_packed_as_openpis_client_packs_it() -> None:
    """The same conventions without a simulator: raw images are upside down, as OpenGL draws them."""
    rng = np.random.default_rng(0)
    raw, raw_wrist = rng.integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    state = rng.normal(size=8)

    def theirs(picture: np.ndarray, turn: slice) -> np.ndarray:
        turned = np.ascontiguousarray(picture[::-1, turn])
        return image_tools.convert_to_uint8(image_tools.resize_with_pad(turned, 224, 224))

    native = {
        "observation/image": raw[::-1, ::-1],
        "observation/wrist_image": raw_wrist[::-1, ::-1],
        "prompt": "open the drawer",
    }
    for orientation, turn in (("rotated_180", slice(None, None, -1)), ("flipped_vertically", slice(None))):
        ours = present(native, state, orientation=orientation, image_px=224)
        element = {
            "observation/image": theirs(raw, turn),
            "observation/wrist_image": theirs(raw_wrist, turn),
            "observation/state": state,
            "prompt": "open the drawer",
        }
        assert pack(request_to_wire(ours, RequestOptions())) == msgpack_numpy.packb(element)
    with pytest.raises(ValueError, match="rotated_180 or flipped_vertically; the policy needs 'upright'"):
        present(native, state, orientation="upright", image_px=224)
