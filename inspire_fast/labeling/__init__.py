"""Labels for datasets: demonstrations recorded with the simulator's truth, and facts for existing datasets."""

from typing import TYPE_CHECKING

from inspire_fast.core.lazy import lazy_exports

if TYPE_CHECKING:
    from inspire_fast.labeling.annotations import Annotations as Annotations
    from inspire_fast.labeling.demonstrations.record import RecordSpec as RecordSpec
    from inspire_fast.labeling.demonstrations.record import record as record
    from inspire_fast.labeling.demonstrations.replay import Replay as Replay
    from inspire_fast.labeling.demonstrations.to_lerobot import write_dataset as write_dataset
    from inspire_fast.labeling.hindsight.producer import Hindsight as Hindsight
    from inspire_fast.labeling.labeler import label_dataset as label_dataset
    from inspire_fast.labeling.object_info import ObjectInfo as ObjectInfo

__getattr__, __dir__ = lazy_exports(__name__)
