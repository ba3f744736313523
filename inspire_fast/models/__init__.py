"""The network: SigLIP vision tower, Gemma language model, prefix-LM attention, loss, cached decoding."""
