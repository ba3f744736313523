"""The control loop: environment, runtime, ways of executing chunks, safety filter. No JAX."""
