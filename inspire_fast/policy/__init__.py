"""Observation in, answers and actions out: the slot decoder, the policy around it, checkpoints and their contract."""
