"""Text tokenizers: SentencePiece models, PaliGemma's among them."""
