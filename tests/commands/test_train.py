"""The command of a training run."""

import logging

import pytest

from inspire_fast.commands import train


def test_a_run_logs_on_stderr_whatever_has_configured_logging_before(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().addHandler(logging.NullHandler())  # importing Orbax does as much
    train.main(["--help"])
    logging.getLogger("inspire_fast.training").info("a line")
    logging.getLogger("another").info("not ours")
    assert capsys.readouterr().err == "INFO a line\n"
