"""Inference: the network laid out for cached decoding, attention kernels and maps, LoRA merged into its base."""
