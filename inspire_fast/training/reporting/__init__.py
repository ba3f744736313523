"""Reporting of a run: metrics, throughput, FLOPs, plots, decoded held-out samples."""
