"""Training: named configs, the SPMD step, the loop, checkpoints, held-out evaluation of the decoded dialogue."""
