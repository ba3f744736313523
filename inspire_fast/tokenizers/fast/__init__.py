"""FAST action tokenizer: DCT coefficients, byte-pair encoding, and the grammar of complete chunks."""
