"""Import of a checkpoint of openpi's, InSpire-FAST's or LeRobot's, or of a safetensors file that this package wrote."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from inspire_fast.checkpoints.importing import (
    ImportOptions,
    Tokenizers,
    import_checkpoint,
    import_safetensors,
    read_model,
)
from inspire_fast.checkpoints.lerobot_exporting import WEIGHTS
from inspire_fast.checkpoints.lerobot_importing import LerobotOptions, import_lerobot, is_policy, metadata_of
from inspire_fast.checkpoints.openpi_configs import OPENPI_CONFIGS
from inspire_fast.checkpoints.params.safetensors import CONTRACT
from inspire_fast.checkpoints.remote import local_path
from inspire_fast.core.cli import require_unused, run_command
from inspire_fast.core.ranges import Natural, require_ranges
from inspire_fast.robots import ROBOTS


@dataclass(frozen=True, kw_only=True)
class Args:
    """Makes a checkpoint that can be served.

    Attributes:
        source: a step or a run of openpi's, the folder of a LeRobot `pi0_fast` policy, or a .safetensors file of ours;
            an address (gs://..., hf://...) is downloaded, once.
        out: a new folder.
        config: the named config that it was trained with; openpi's checkpoints need it.
        model: the architecture, where not the config's: a preset, or a JSON file of a `ModelConfig`.
        text_tokenizer: PaliGemma's, a file or a folder; without it, the caches of openpi and Hugging Face are searched.
        action_tokenizer: folder or repository of the FAST processor, where not the config's.
        download: fetch tokenizers that the caches lack.
        asset_id: whose statistics, where not the config's.
        base: a full checkpoint below a LoRA-only one.
        compatibility: options that the contract names.
        copy: copy the parameters instead of linking them.
        assets: of a checkpoint with the same tokenizers; with a .safetensors file.
        robot: our name of the embodiment; LeRobot's policies need it.
        cameras: for a LeRobot policy, the network's camera of each of its image keys: KEY CAMERA KEY CAMERA.
        state_dim: numbers to which a LeRobot policy's prompt fills the state up: 32 with LeRobot 0.4, 0 later.
    """

    source: str
    out: Path
    config: str = ""
    model: str | None = None
    text_tokenizer: Path | None = None
    action_tokenizer: str | None = None
    download: bool = False
    asset_id: str | None = None
    base: Path | None = None
    compatibility: tuple[str, ...] = ()
    copy: bool = False
    assets: Path | None = None
    robot: str = ""
    cameras: dict[str, str] | None = None
    state_dim: Natural | None = None

    def __post_init__(self) -> None:
        require_ranges(self)


def import_from(args: Annotated[Args, tyro.conf.arg(name="")]) -> None:
    """Imports, and prints how to serve the result."""
    source = local_path(args.source)
    if source.suffix == ".safetensors":
        require_unused(args, vars(args).keys() - {"assets"}, "a .safetensors file brings its contract")
        import_safetensors(source, args.out, assets=args.assets or source.parent / "assets")
    elif is_policy(source) and CONTRACT in metadata_of(source):
        require_unused(args, vars(args).keys() - {"assets"}, "this package exported the policy, with its contract")
        import_safetensors(source / WEIGHTS, args.out, assets=args.assets or source / "assets")
    elif is_policy(source):
        _import_policy(args, source)
    else:
        require_unused(
            args, {"assets", "robot", "cameras", "state_dim"}, "openpi's configs say it, or have no use for it"
        )
        if not args.config:
            raise ValueError(f"An openpi checkpoint needs --config, one of: {', '.join(sorted(OPENPI_CONFIGS))}.")
        tokenizers = Tokenizers(text=args.text_tokenizer, action=args.action_tokenizer, download=args.download)
        options = ImportOptions(
            asset_id=args.asset_id,
            model=None if args.model is None else read_model(args.model),
            base=args.base,
            compatibility=args.compatibility,
            copy=args.copy,
        )
        import_checkpoint(source, args.config, args.out, tokenizers=tokenizers, options=options)
    print(f"{args.out}: serve it with `inspire-serve --checkpoint {args.out}`")


def _import_policy(args: Args, source: Path) -> None:
    unused = {"config", "model", "base", "compatibility", "copy", "assets"}
    require_unused(args, unused, "LeRobot's config.json says it, or has no use for it")
    if not args.robot:
        raise ValueError(f"A LeRobot policy needs --robot, one of: {', '.join(sorted(ROBOTS))}.")
    options = LerobotOptions(
        robot=args.robot,
        cameras=args.cameras or {},
        state_dim=args.state_dim,
        asset_id=args.asset_id or LerobotOptions.asset_id,
    )
    import_lerobot(
        source,
        args.out,
        options,
        tokenizers=Tokenizers(text=args.text_tokenizer, action=args.action_tokenizer, download=args.download),
    )


main = partial(run_command, import_from)
