"""Tokenizers: text <-> ids and action chunks <-> ids. They know no prompt, no question and no robot."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.tokenizers.action import ActionTokenizer as ActionTokenizer
    from inspire_fast.tokenizers.fast.tokenizer import FastTokenizer as FastTokenizer
    from inspire_fast.tokenizers.grammar import Grammar as Grammar
    from inspire_fast.tokenizers.registry import ACTION_TOKENIZERS as ACTION_TOKENIZERS
    from inspire_fast.tokenizers.registry import fit_action_tokenizer as fit_action_tokenizer
    from inspire_fast.tokenizers.registry import load_action_tokenizer as load_action_tokenizer
    from inspire_fast.tokenizers.text.tokenizer import TextTokenizer as TextTokenizer

__getattr__, __dir__ = lazy_exports(__name__)
