"""Experiment trackers: TensorBoard, Weights & Biases, Rerun."""
