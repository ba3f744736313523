"""Spatial questions before actions: FAST-tokenized pi0 policies, trained, served and evaluated."""

__version__ = "0.1.0"
