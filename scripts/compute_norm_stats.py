"""Computes the normalisation statistics of a config's datasets.

uv run scripts/compute_norm_stats.py <config> [--streaming] [--check FILE]
"""

from inspire_fast.commands.compute_norm_stats import main

if __name__ == "__main__":
    main()
