"""Value types shared by every room. Pure numpy; nothing here imports another room (only `core.batch` imports JAX)."""
