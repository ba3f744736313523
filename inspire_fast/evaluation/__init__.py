"""Rollouts through a policy server, answer accuracy against the simulator's truth, videos, the report."""
