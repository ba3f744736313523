"""Facts of one episode as columns, one row per frame and target: what `labels/facts.parquet` is put together from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from inspire_fast.core.types import SceneFacts, TargetFacts

SCHEMA = pa.schema(
    [
        ("frame", pa.int64()),
        ("target", pa.int32()),  # place in the instruction's order; -1: the frame is labelled and has no target
        ("phrase", pa.string()),
        ("offset_m", pa.list_(pa.float32(), 3)),
        ("grasped", pa.bool_()),
        ("point_px", pa.list_(pa.float32(), 2)),
        ("rotations", pa.map_(pa.string(), pa.list_(pa.float32(), 9))),
        ("gripper_px", pa.list_(pa.float32(), 2)),  # of the frame: the same on each of its targets
        ("box_px", pa.list_(pa.float32(), 4)),
        ("trace_px", pa.list_(pa.float32())),  # of the frame, y0 x0 y1 x1 ...
        ("camera", pa.string()),  # of the frame
        ("quality", pa.string()),  # of the frame
    ]
)


@dataclass(frozen=True, kw_only=True)
class FactRows:
    """Facts of one episode.

    Attributes:
        frames: number of the episode's frames, labelled or not.
        table: rows of the schema `SCHEMA`, by frame and target.
    """

    frames: int
    table: pa.Table

    @classmethod
    def of(cls, scenes: Sequence[SceneFacts | None]) -> FactRows:
        """The facts per frame (None: not labelled) as rows."""
        labelled = [(frame, scene) for frame, scene in enumerate(scenes) if scene is not None]
        rows = [
            (frame, place, scene, target)
            for frame, scene in labelled
            for place, target in (enumerate(scene.targets) if scene.targets else [(-1, None)])
        ]
        places, targets = [(frame, place) for frame, place, _, _ in rows], [target for _, _, _, target in rows]
        scenes_of = [scene for _, _, scene, _ in rows]
        frames, numbers = np.array(places, np.int64).reshape(-1, 2).T
        columns = {
            "frame": frames,
            "target": numbers,
            "phrase": [target and target.phrase for target in targets],
            "offset_m": [None if t is None or t.offset_m is None else t.offset_m.tolist() for t in targets],
            "grasped": [target and bool(target.grasped) for target in targets],
            "point_px": [target and target.point_px for target in targets],
            "rotations": [target and _rotations(target) for target in targets],
            "gripper_px": [scene.gripper_px for scene in scenes_of],
            "box_px": [target and target.box_px for target in targets],
            "trace_px": [None if s.trace_px is None else s.trace_px.ravel().tolist() for s in scenes_of],
            "camera": [scene.camera for scene in scenes_of],
            "quality": [scene.quality for scene in scenes_of],
        }
        arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
        return cls(frames=len(scenes), table=pa.table(arrays, schema=SCHEMA))


def _rotations(target: TargetFacts) -> list[tuple[str, list[float]]]:
    return [(frame, np.ravel(matrix).tolist()) for frame, matrix in sorted(target.rotations.items())]
