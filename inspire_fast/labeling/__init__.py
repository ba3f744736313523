"""Labels for datasets: demonstrations recorded with the simulator's truth, and facts for existing datasets."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inspire_fast.labeling.annotations import Annotations as Annotations
    from inspire_fast.labeling.demonstrations.record import RecordSpec as RecordSpec
    from inspire_fast.labeling.demonstrations.record import record as record
    from inspire_fast.labeling.demonstrations.replay import Replay as Replay
    from inspire_fast.labeling.demonstrations.to_lerobot import write_dataset as write_dataset
    from inspire_fast.labeling.hindsight.producer import Hindsight as Hindsight
    from inspire_fast.labeling.labeler import label_dataset as label_dataset
    from inspire_fast.labeling.object_info import ObjectInfo as ObjectInfo

# Loaded on first use, so that a simulator's worker does not import what reads datasets.
_HOMES = {
    "Annotations": "annotations",
    "Hindsight": "hindsight.producer",
    "ObjectInfo": "object_info",
    "RecordSpec": "demonstrations.record",
    "Replay": "demonstrations.replay",
    "label_dataset": "labeler",
    "record": "demonstrations.record",
    "write_dataset": "demonstrations.to_lerobot",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(_HOMES)}.")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
