"""Value types, the policy interface, registries, files and command lines: shared by every room, without JAX."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.core.policy import BatchPolicy as BatchPolicy
    from inspire_fast.core.policy import Policy as Policy
    from inspire_fast.core.policy import RequestOptions as RequestOptions
    from inspire_fast.core.registry import Registry as Registry
    from inspire_fast.core.types import ActionChunk as ActionChunk
    from inspire_fast.core.types import Answer as Answer
    from inspire_fast.core.types import Observation as Observation
    from inspire_fast.core.types import Status as Status

__getattr__, __dir__ = lazy_exports(__name__)
