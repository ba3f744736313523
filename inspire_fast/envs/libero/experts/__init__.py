"""Scripted experts for LIBERO: grasping, placing, drawers, doors, knobs."""
