"""Console commands: one module each, with a `main` that `scripts/` and `[project.scripts]` call."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.commands.evaluate import EvaluationOptions as EvaluationOptions

__getattr__, __dir__ = lazy_exports(__name__)
