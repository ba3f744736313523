"""Recorded data: read and written as LeRobot datasets, labelled, normalised, cut into samples and batched."""
