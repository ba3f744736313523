"""Parameter files of a checkpoint: Orbax, safetensors, npz, and LoRA factors merged into their base."""
