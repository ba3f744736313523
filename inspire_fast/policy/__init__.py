"""Policies: a native observation in, answers and an action chunk out; decoding, batching, loading by name."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.policy.default_prompt import with_default_prompt as with_default_prompt
    from inspire_fast.policy.load import PUBLISHED as PUBLISHED
    from inspire_fast.policy.load import Tokenizers as Tokenizers
    from inspire_fast.policy.load import load_policy as load_policy
    from inspire_fast.policy.policy import InspirePolicy as InspirePolicy
    from inspire_fast.policy.policy import ServingOptions as ServingOptions
    from inspire_fast.policy.replay import ReplayPolicy as ReplayPolicy

__getattr__, __dir__ = lazy_exports(__name__)
