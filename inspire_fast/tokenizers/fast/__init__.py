"""FAST action tokenizers: DCT coefficients, byte-pair encoding, and the grammar of well-formed chunks."""
