"""Console commands: one module per command, each with a `main()`; `scripts/` and `[project.scripts]` call them."""
