"""Records of an evaluation: episodes, videos, observations, attention maps."""
