"""Text <-> ids and action chunks <-> ids. Knows no prompt, no question and no robot."""
