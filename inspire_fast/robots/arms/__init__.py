"""Joint-controlled arms: limits, kinematics, a limited stream of targets in a process of its own. No JAX."""
