"""Hindsight labels: facts from the gripper's closings and openings, without annotation."""
