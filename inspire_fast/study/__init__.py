"""Studies: queues of training runs and evaluations that compare ways of training on the same data."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.study.definition import Arm as Arm
    from inspire_fast.study.definition import Condition as Condition
    from inspire_fast.study.definition import Study as Study
    from inspire_fast.study.definition import load_study as load_study
    from inspire_fast.study.results import read_rows as read_rows

__getattr__, __dir__ = lazy_exports(__name__)
