"""Cameras of a robot workstation: drivers behind one interface, newest pictures, freshness. No JAX."""
