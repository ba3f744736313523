from pathlib import Path

import numpy as np
import pytest

from inspire_fast.labeling.demonstrations.episode import load_episode, save_episode
from inspire_fast.labeling.demonstrations.record import RecordSpec, record
from inspire_fast.labeling.demonstrations.repeat import repeat_all

pytestmark = pytest.mark.sim


def test_a_folder_without_a_recording_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="holds no recording"):
        next(repeat_all(tmp_path))


@pytest.mark.slow
def test_recorded_actions_reach_success_again_and_other_actions_do_not(tmp_path: Path):
    spec = RecordSpec(
        tasks=(("libero_object", 0),),
        episodes=1,
        chunk=200,
        camera_hw=(32, 32),
        initial_states="fixed",
        expert="carry_out",
        render_quality="reduced",
    )
    (path,) = record(spec, tmp_path, workers=1, progress=False).paths
    (again,) = repeat_all(tmp_path)
    assert again.success
    assert again.apart_m < 1e-6  # states are recorded in single precision
    episode = load_episode(path)
    still = np.zeros_like(episode.actions)
    save_episode(type(episode)(**{**vars(episode), "actions": still}), path)
    (changed,) = repeat_all(tmp_path)
    assert not changed.success
    assert changed.apart_m > 0.1
