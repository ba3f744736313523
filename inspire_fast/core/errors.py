"""Errors of names and numbers that a person gave: lookup errors whose text is a whole message.

Python's own `KeyError` and `IndexError` are mostly bugs. A command prints the errors below without a traceback, and
lets those two end it with one. And the error of facts that labels lack.
"""

from __future__ import annotations


class UnknownNameError(KeyError):
    """A name that is not known. Its text is the message itself; that of a `KeyError` is in quotes."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class OutOfRangeError(IndexError):
    """A number beyond the last sample, row or episode."""


class UnknownFactError(ValueError):
    """The labels of a frame lack what a question is about; names what is lacking and how to label it."""
