"""Recording of what was asked of a server and answered by it, crash-safe."""
