"""Diagnosis of evaluated episodes: phases, divergence from the demonstrations, error to the expert."""
