"""Places of the gripper in pictures for `label_dataset.py calibrate`: a page for clicks, their file, a page to check.

The file has one JSON object per line, from the page or from any detector. The first line names camera and picture::

    {"camera": "base_0_rgb", "picture_hw": [480, 640]}
    {"episode": 0, "frame": 12, "gripper_px": [0.41, 0.63]}

`gripper_px` is `(y, x)`, fractions of height and width, of the point whose position the dataset records: for most
robots, between the finger tips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path

import numpy as np

from inspire_fast.core.files import numbered_lines, read_text, write_text
from inspire_fast.core.html import Markup, data_uri, document, element, figure, fill, image, note, png
from inspire_fast.core.ranges import Count, Positive, require_ranges
from inspire_fast.core.types import require_point
from inspire_fast.data.drawing import Mark, draw_marks
from inspire_fast.data.errors import DatasetError
from inspire_fast.data.lerobot.dataset import LeRobotDataset
from inspire_fast.labeling.calibration import Calibration, calibrate, save
from inspire_fast.labeling.gripper_states import gripper_states
from inspire_fast.robots import Robot

_STYLE = """
canvas{width:min(100%,60rem);image-rendering:pixelated;cursor:crosshair;border:1px solid #ccc}
button{font:inherit;margin:.4rem .6rem .4rem 0}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(20rem,1fr));gap:1rem} .grid img{width:100%}
"""
_SCRIPT = """
const pictures = JSON.parse(document.getElementById("pictures").textContent);
const header = JSON.parse(document.getElementById("header").textContent);
const canvas = document.getElementById("canvas"), pen = canvas.getContext("2d"), clicks = pictures.map(() => null);
let at = 0; const picture = new Image();
function show() {
  picture.src = pictures[at].png;
  document.getElementById("where").textContent = `picture ${at + 1} of ${pictures.length}: episode ` +
    `${pictures[at].episode}, frame ${pictures[at].frame}; ${clicks.filter(Boolean).length} marked`;
}
picture.onload = () => {
  canvas.width = picture.naturalWidth; canvas.height = picture.naturalHeight; pen.drawImage(picture, 0, 0);
  if (!clicks[at]) return;
  const y = clicks[at][0] * canvas.height, x = clicks[at][1] * canvas.width;
  pen.strokeStyle = "#ff2d55"; pen.lineWidth = 2; pen.beginPath(); pen.arc(x, y, 6, 0, 7); pen.stroke();
};
function go(step) { at = Math.min(Math.max(at + step, 0), pictures.length - 1); show(); }
canvas.onclick = (event) => {
  const box = canvas.getBoundingClientRect();
  clicks[at] = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width]; go(1);
};
document.getElementById("back").onclick = () => go(-1);
document.getElementById("skip").onclick = () => { clicks[at] = null; go(1); };
document.getElementById("save").onclick = () => {
  const lines = clicks.flatMap((click, n) => click ? [{ episode: pictures[n].episode, frame: pictures[n].frame,
    gripper_px: click.map((v) => Number(v.toFixed(5))) }] : []);
  const text = [header, ...lines].map((line) => JSON.stringify(line)).join("\\n") + "\\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/jsonl" })); link.download = "clicks.jsonl";
  link.click();
};
show();
"""


@dataclass(frozen=True, kw_only=True)
class Calibrate:
    """Calibrates a camera that stands still, for labels of the gripper's path (`traces`).

    Without places, it writes a page on which you click the gripper in some pictures; the page saves them as a file.
    With that file, or one of a detector, it finds the camera and writes `labels/calibration_<camera>.json` and a page
    to look at.

    Attributes:
        places: file of places of the gripper; its format is in the docstring of `inspire_fast.labeling.clicks`.
        camera: canonical name; None: the robot's first.
        pictures: number of pictures on the page, spread over the episodes.
        focal_px: focal length in pixels, if it is known; else it is searched.
        state_column: column with the gripper's position; None: the robot's.
        gripper: JSON file with the robot's gripper signal (see `grasp_events.load_signal`); None: the robot's own.
    """

    places: Path | None = None
    camera: str | None = None
    pictures: Count = 40
    focal_px: Positive | None = None
    state_column: str | None = None
    gripper: Path | None = None

    def __post_init__(self) -> None:
        require_ranges(self)

    def run(self, dataset: LeRobotDataset, robot: Robot) -> str:
        """Writes the page for clicks, or calibration and page; returns what to tell: errors and files.

        Raises:
            DatasetError: the robot lacks the camera, or a place does not fit; names file and line.
        """
        camera, column = camera_column(dataset, robot, self.camera)
        labels = dataset.root / "labels"
        if self.places is None:
            page = labels / f"clicks_{camera}.html"
            write_text(page, _click_page(dataset, camera, column, self.pictures))
            return f"Open {page}, click, save, and pass the saved file as `--places`."
        marked = read_places(self.places, dataset, camera, column)
        signal, states = gripper_states(dataset, robot, column=self.state_column, given=self.gripper)
        points = {e: signal.positions_m(states(dataset.episode(e))) for e in sorted({e for e, _, _ in marked})}
        height, width = picture_hw(dataset, column)
        found = calibrate(
            np.array([points[episode][frame] for episode, frame, _ in marked]),
            np.array([(x * width, y * height) for _, _, (y, x) in marked]),
            [episode for episode, _, _ in marked],
            (height, width),
            name=camera,
            focal_px=self.focal_px,
        )
        path, page = labels / f"calibration_{camera}.json", labels / f"calibration_{camera}.html"
        save(found, path)
        write_text(page, _check_page(dataset, column, found, marked, points))
        return f"{found}\n{path}\n{page}"


Marked = tuple[int, int, tuple[float, float]]
"""Episode, frame, and (y, x)."""


def camera_column(dataset: LeRobotDataset, robot: Robot, camera: str | None) -> tuple[str, str]:
    """A canonical camera of the robot (None: its first) and the dataset's column with its pictures.

    Raises:
        DatasetError: the robot lacks it, or the dataset has no such column.
    """
    wanted = camera or next(iter(robot.cameras.values()))
    columns = {robot.cameras[key]: column for column, key in robot.columns.items() if key in robot.cameras}
    if wanted not in columns:
        raise DatasetError(f"Robot {robot.name!r} has no camera {wanted!r}; it has {sorted(columns)}.")
    dataset.feature(columns[wanted])
    return wanted, columns[wanted]


def picture_hw(dataset: LeRobotDataset, column: str) -> tuple[int, int]:
    """Height and width of a column's pictures, px."""
    shape = dataset.feature(column).shape
    return shape[0], shape[1]


def read_places(path: Path, dataset: LeRobotDataset, camera: str, column: str) -> list[Marked]:
    """Places of a file.

    Raises:
        DatasetError: no such file; a line that is none, of an unknown frame, or outside of the picture; another camera,
            or a picture of another size. Names file and line.
    """
    if not path.is_file():
        raise DatasetError(f"{path} does not exist. Without `--places`, a page to click them is written.")
    places: list[Marked] = []
    for number, text in numbered_lines(read_text(path)):
        try:
            entry = json.loads(text)
            if "gripper_px" in entry:
                places.append(_place(entry, dataset))
                continue
            stated, found = tuple(entry.get("picture_hw", ())), picture_hw(dataset, column)
            if stated != found:
                raise ValueError(f"places in pictures of {stated} px (height, width); those of {column!r} have {found}")
            if entry.get("camera") != camera:
                raise ValueError(f"places of camera {entry.get('camera')!r}, not of {camera!r}")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DatasetError(f"{path}, line {number}: {error}") from error
    return places


def _place(entry: dict[str, object], dataset: LeRobotDataset) -> Marked:
    episode, frame, (y, x) = entry["episode"], entry["frame"], entry["gripper_px"]  # pyright: ignore[reportGeneralTypeIssues]
    if not (isinstance(episode, int) and 0 <= episode < len(dataset.episodes)):
        raise ValueError(f"episode {episode!r}: the dataset has 0..{len(dataset.episodes) - 1}")
    if not (isinstance(frame, int) and 0 <= frame < dataset.episodes[episode].length):
        raise ValueError(f"episode {episode} has the frames 0..{dataset.episodes[episode].length - 1}; got {frame!r}")
    require_point((float(y), float(x)), "'gripper_px'")
    return episode, frame, (float(y), float(x))


def _click_page(dataset: LeRobotDataset, camera: str, column: str, count: int) -> str:
    rows = [row for row in _spread(dataset, count) if dataset.locate(row)[0].index not in dataset.skipped]
    pictures = []
    for row in rows:
        episode, frame = dataset.locate(row)
        shown = data_uri(png(dataset.row(row, [column])[column]), "image/png")
        pictures.append({"episode": episode.index, "frame": frame, "png": shown})
    header = {"camera": camera, "picture_hw": picture_hw(dataset, column)}
    return document(
        f"Where is the gripper? ({camera})",
        note(
            "Click the point between the finger tips; the next picture follows. Skip a picture in which it is hidden. "
            "Forty clicks in four or more episodes give a camera that is right to about 3 px of 640."
        ),
        element("p", id="where"),
        element("canvas", id="canvas"),
        element("p", [element("button", word, id=word) for word in ("back", "skip", "save")]),
        _json("pictures", pictures),
        _json("header", header),
        style=_STYLE,
        script=_SCRIPT,
    )


def _json(name: str, value: object) -> Markup:
    text = json.dumps(value).replace("<", "\\u003c")
    return element("script", Markup(text), id=name, type="application/json")


def _spread(dataset: LeRobotDataset, count: int) -> list[int]:
    """Rows in up to ten episodes, evenly spaced in each."""
    episodes = dataset.episodes[:: max(len(dataset.episodes) // 10, 1)][:10]
    each = max(round(count / len(episodes)), 1)
    return [e.start + int((part + 0.5) * e.length / each) for e in episodes for part in range(min(each, e.length))]


def _check_page(
    dataset: LeRobotDataset,
    column: str,
    found: Calibration,
    marked: Sequence[Marked],
    points: dict[int, np.ndarray],
) -> str:
    worst = np.argsort(-found.errors_px)[:6]
    shown = sorted({*worst.tolist(), *range(0, len(marked), max(len(marked) // 12, 1))})
    figures = []
    for number in shown:
        episode, frame, place = marked[number]
        path = found.camera.project(points[episode])
        kept = path[np.isfinite(path).all(axis=1)]
        marks = [Mark(place=kept, colour="#0a84ff")] if len(kept) else []
        marks.append(Mark(place=np.array(place), colour="#ff2d55"))
        if np.isfinite(path[frame]).all():
            marks.append(Mark(place=path[frame], colour="#30d158", answer=True))
        picture = dataset.row(dataset.episodes[episode].start + frame, [column])[column]
        verdict = "" if found.inliers[number] else ", left out"
        caption = f"episode {episode}, frame {frame}: {found.errors_px[number]:.1f} px{verdict}"
        figures.append(figure(caption, image(png(draw_marks(picture, marks, scale=max(640 // picture.shape[1], 1))))))
    return document(
        f"Calibration of {found.name}",
        element("pre", str(found)),
        fill(
            "<p>{ring} marked, {cross} projected, {path} the episode's whole path. The six largest errors are among "
            "these pictures.</p>",
            ring="Red ring:",
            cross="green cross:",
            path="blue:",
        ),
        element("div", figures, class_="grid"),
        style=_STYLE,
    )
