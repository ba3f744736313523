"""The demo of make demo: its stages, its report and the figures in it."""
