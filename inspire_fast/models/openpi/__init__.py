"""openpi's parameter names, and its decoding as the compatibility option reproduces it."""
