"""Fits text and action tokenizer on a config's dataset.

uv run scripts/fit_tokenizers.py <config>
"""

from inspire_fast.commands.fit_tokenizers import main

if __name__ == "__main__":
    main()
