"""Running an evaluation: protocols, episodes, rollouts, workers in processes or on Ray."""
