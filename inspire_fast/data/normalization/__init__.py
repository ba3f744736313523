"""Normalisation of states and actions: statistics, their computation and report, delta actions."""
