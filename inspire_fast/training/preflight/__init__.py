"""Preflight checks: what a machine lacks for a run, and the memory that the run will need."""
