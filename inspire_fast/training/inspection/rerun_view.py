"""Rerun recording (.rrd) of an inspection. Needs the extra `rerun`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from inspire_fast.data.images import padded_point
from inspire_fast.training.inspection.samples import Inspection


def need_rerun() -> None:
    """Raises FileNotFoundError if the Rerun SDK is not installed; names the command that installs it."""
    if importlib.util.find_spec("rerun") is None:
        raise FileNotFoundError("The Rerun SDK is not installed. Add it with `uv sync --extra rerun`.")


def write_rrd(inspection: Inspection, path: Path) -> Path:
    """Writes images, targets, dialogue and offsets of the shown samples along a timeline; returns its path.

    Raises:
        FileNotFoundError: the Rerun SDK is not installed.
    """
    need_rerun()
    import rerun as rr  # pyright: ignore[reportMissingImports]

    path.parent.mkdir(parents=True, exist_ok=True)
    recording = rr.RecordingStream(f"inspire_fast_{inspection.config.name}")
    recording.save(path)
    for number, shown in enumerate(inspection.shown):
        recording.set_time("sample", sequence=number)
        for camera, image in shown.images.items():
            recording.log(f"cameras/{camera}", rr.Image(image))
        lines = [f"{shown.part}: episode {shown.episode}, frame {shown.frame}", "".join(shown.texts)]
        recording.log("dialogue", rr.TextDocument("\n\n".join(lines)))
        if shown.facts is not None and shown.facts.targets:
            targets = shown.facts.targets
            if apart := [(t.phrase, t.offset_m) for t in targets if t.offset_m is not None]:
                vectors, labels = np.stack([offset for _, offset in apart]), [phrase for phrase, _ in apart]
                recording.log("offsets_m", rr.Arrows3D(vectors=vectors, labels=labels))
            seen = [t for t in targets if t.point_px is not None]
            height, width = shown.images["base_0_rgb"].shape[:2] if "base_0_rgb" in shown.images else (0, 0)
            source_hw = shown.source_hw.get("base_0_rgb", (height, width))
            if seen and width:
                placed = [padded_point(t.point_px, source_hw, (height, width)) for t in seen if t.point_px is not None]
                points = [[x * width, y * height] for y, x in placed]
                recording.log("cameras/base_0_rgb/targets", rr.Points2D(points, labels=[t.phrase for t in seen]))
    recording.flush()
    return path
