"""Test doubles: a tiny vocabulary, network, policy, checkpoint and dataset, and a policy without a network."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.data.testing import write_fake_dataset as write_fake_dataset
    from inspire_fast.dialogue.testing import tiny_vocabulary as tiny_vocabulary
    from inspire_fast.models.testing import random_images as random_images
    from inspire_fast.models.testing import random_model as random_model
    from inspire_fast.policy.testing import tiny_policy as tiny_policy
    from inspire_fast.policy.testing import write_checkpoint as write_checkpoint
    from inspire_fast.serving.testing import PuppetPolicy as PuppetPolicy

__getattr__, __dir__ = lazy_exports(__name__)
