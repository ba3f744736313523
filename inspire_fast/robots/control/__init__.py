"""The control loop: environment, runtime, action-chunk broker, safety filter. No JAX."""
