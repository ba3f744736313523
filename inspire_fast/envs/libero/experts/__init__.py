"""Scripted experts for LIBERO: grasping, placing, drawers, doors and knobs."""
