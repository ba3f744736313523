"""Upload of a checkpoint, with a model card, or of a dataset to the Hugging Face Hub."""

from functools import partial
from pathlib import Path

from inspire_fast.checkpoints.assets import FOLDER
from inspire_fast.checkpoints.contract import FILE, Contract
from inspire_fast.checkpoints.model_card import write_card
from inspire_fast.checkpoints.reading import ITEM, find_step
from inspire_fast.core import hub
from inspire_fast.core.cli import run_command
from inspire_fast.data.lerobot.meta import load_meta

_CARD = "README.md"
_LOCAL = {"commit_success.txt"}  # Orbax writes a path of the machine into it


def push_to_hub(
    *,
    repo: str,
    checkpoint: Path | None = None,
    dataset: Path | None = None,
    figures: Path | None = None,
    licence: str = "",
    public: bool = False,
    message: str = "Upload with inspire_fast",
) -> None:
    """Uploads a checkpoint or a dataset to the Hugging Face Hub, and prints its address with the commit.

    The account is that of `HF_TOKEN` or `hf auth login`. A checkpoint's folder with a README.md brings its own card;
    otherwise one is made from the contract.

    Args:
        repo: `org/name`; made if it is missing.
        checkpoint: a step's folder, or a run's (then its latest step).
        dataset: a LeRobot dataset; its labels go along.
        figures: Markdown file with what was measured, for the card.
        licence: of the weights, by the hub's names, for the card.
        public: make a new repository public; it is private otherwise.
        message: of the commit.
    """
    if (checkpoint is None) == (dataset is None):
        raise ValueError("Give either --checkpoint or --dataset.")
    if dataset is not None:
        if figures is not None or licence:
            raise ValueError(
                "--figures and --licence are for the card of a checkpoint; a dataset brings its README.md."
            )
        root = load_meta(dataset).root
        files = _files(root, root)
        address = hub.upload(files, repo, "dataset", private=not public, message=message)
    else:
        assert checkpoint is not None
        step = find_step(checkpoint)
        if not (step / FOLDER / FILE).is_file():
            raise ValueError(
                f"{step} has no {FOLDER}/{FILE}: import it first (`inspire-import`), so that it says what it is."
            )
        files = {**_files(step / ITEM, step), **_files(step / FOLDER, step)}
        files[_CARD] = _card(step, repo, figures, licence)
        address = hub.upload(files, repo, private=not public, message=message)
    print(address)


def _files(folder: Path, root: Path) -> dict[str, Path | bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in _LOCAL)
    return {path.relative_to(root).as_posix(): path for path in found}


def _card(step: Path, repo: str, figures: Path | None, licence: str) -> Path | bytes:
    own = step / _CARD
    if own.is_file() and figures is None and not licence:
        return own
    text = figures.read_text(encoding="utf-8") if figures is not None else ""
    return write_card(Contract.read(step / FOLDER), repo, figures=text, licence=licence).encode()


main = partial(run_command, push_to_hub)
