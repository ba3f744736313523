"""Checkpoints: their contract, reading, importing from and exporting to openpi, download from remote storage."""
