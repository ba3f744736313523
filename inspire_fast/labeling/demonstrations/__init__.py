"""Demonstrations: recorded in the simulator, replayed, repeated, converted to LeRobot datasets."""
