"""The command of a training run."""

import logging

import pytest

from inspire_fast.commands import train


def test_a_run_logs_on_stderr_whatever_has_configured_logging_before(capsys: pytest.CaptureFixture[str]) -> None:
    root, package = logging.getLogger(), logging.getLogger("inspire_fast")
    before = root.handlers[:], root.level, package.level
    root.addHandler(logging.NullHandler())  # importing Orbax does as much
    try:
        train.main(["--help"])
        logging.getLogger("inspire_fast.training").info("a line")
        logging.getLogger("another").info("not ours")
        assert capsys.readouterr().err == "INFO a line\n"
    finally:
        root.handlers[:], root.level = before[:2]
        package.setLevel(before[2])
