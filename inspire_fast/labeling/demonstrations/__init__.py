"""Demonstrations: recorded from scripted experts, repeated, replayed, converted to LeRobot datasets."""
