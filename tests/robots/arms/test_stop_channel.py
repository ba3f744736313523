"""Folder of stop channels: one for all processes of a user, and nobody else's."""

from __future__ import annotations

import pytest

from inspire_fast.commands import stop_arms as command
from inspire_fast.robots.arms.base import ArmError
from inspire_fast.robots.arms.process import ArmProcess
from inspire_fast.robots.arms.stop_channel import FOLDER_VARIABLE, folder
from inspire_fast.robots.arms.testing import IdealArm


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("/tmp/" + "long" * 20, r"has 85 bytes, sockets in it allow 67. Set INSPIRE_FAST_STOP_FOLDER"),
        ("/tmp", "not a folder that only you may write to"),  # anybody could put a channel there
        ("/proc/none", "cannot be made: No such file or directory"),
    ],
)
def test_an_arm_that_no_emergency_stop_would_reach_is_not_taken(monkeypatch, place, words):
    monkeypatch.setenv(FOLDER_VARIABLE, place)
    with pytest.raises(ArmError, match=words):
        ArmProcess(IdealArm, joints=7)
    with pytest.raises(SystemExit, match=words):
        command.main(["--now"])


def test_every_process_of_a_user_finds_the_same_channels(monkeypatch, tmp_path):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    before = folder()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert folder() == before
