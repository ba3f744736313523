"""Comparison of training runs: curves and tables of several runs on one page."""
