"""LIBERO as an `Environment`: tasks, cameras, targets and their truth, experts, disturbances."""
