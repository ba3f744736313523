"""Datasets of a training run: sources, fingerprints, statistics and tokenizers made from them."""
