"""Tokenizers: text <-> ids and action chunks <-> ids. They know no prompt, no question and no robot."""
