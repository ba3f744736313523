"""Checks of a robot workstation before anything moves: cameras, arms, and the policy that is to drive them. No JAX."""
