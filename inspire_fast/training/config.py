"""What a training run is. Named runs are files under `configs/`, each of which defines `CONFIG`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import importlib.util
from pathlib import Path
from typing import Any, Literal, get_args

from inspire_fast.checkpoints.contract import COMPATIBILITY, build_script
from inspire_fast.core.registry import unknown_name
from inspire_fast.data.chunks import EndPadding
from inspire_fast.data.normalization.normalizer import Normalisation
from inspire_fast.data.question_dropout import Asking
from inspire_fast.dialogue.questions import QUESTIONS, Question
from inspire_fast.dialogue.script import SCRIPTS, Script
from inspire_fast.models.config import GEMMA_2B, DType, ModelConfig
from inspire_fast.models.freeze import TRAIN_ALL, FreezeConfig
from inspire_fast.models.loss import PLAIN, Objective
from inspire_fast.robots import ROBOTS, Robot
from inspire_fast.tokenizers.registry import ACTION_TOKENIZERS
from inspire_fast.tokenizers.text.paligemma import VOCAB_SIZE as PALIGEMMA_IDS
from inspire_fast.training.augment import RECIPES
from inspire_fast.training.dataset_config import DataPart, DataPartArgument, check_parts
from inspire_fast.training.optimizer import OptimizerConfig
from inspire_fast.training.stochastic_rounding import Precision

PALIGEMMA_SKIP = 128


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where samples come from and how they are cut.

    Several datasets are trained on together when `parts` names them::

        data=DataConfig(parts=(
            DataPart(root=Path("data/libero"), weight=3),
            DataPart(root=Path("data/mine"), weight=1, exclude_episodes=(4, 17)),
        ))

    or `--data.parts data/libero:3 data/mine:1` on the command line (which there takes the place of `root`), where a part is
    `PATH`, `PATH:WEIGHT`, or a JSON object of the fields of `DataPart`. Of any number of samples drawn, three quarters then come from the first part and a quarter from
    the second, whatever their sizes: each part is shuffled by itself, seen in full, and begun anew when it is used up, so
    that small parts with large weights repeat. Without weights parts are drawn as often as they have samples, and an epoch
    is every sample once. The order depends on (seed, position) alone: a resumed run goes on with the very samples that were
    due, and refuses parts, weights or sizes other than it began with. Statistics are those of the samples as they are drawn;
    every part has its own held-out episodes.

    Attributes:
        root: folder of a LeRobot dataset, labels beside it; None where there are `parts`.
        parts: several datasets instead of `root`, in an order that a resumed run keeps. They are all of the run's robot.
        parts_may_differ: parts whose `info.json` give different frame rates or robot types are refused unless this is set: with
            other rates, a chunk of as many actions lasts otherwise.
        horizon: actions per chunk.
        held_out_every: every n-th episode is held out for evaluation, never trained on. Counted in the order of tasks.
        columns: dataset column -> native key of the robot; empty means those of openpi's conversions for the robot.
        action_column: dataset column of the actions; empty likewise.
        end_padding: near an episode's end, `repeat_last` repeats its last action, `drop` leaves the rows out.
        max_image_age_s: rows whose stored image is older than this (seconds) are not samples.
        state_noise: standard deviation of what is added to the normalised state in training, so that the policy does not
            hang on exact values; a state bin is 1/128 wide.
        max_token_len: ids per row; a longer dialogue is an error.
        max_supervised: supervised ids per row; likewise.
        normalisation: of state and actions; pi0-FAST is trained with quantiles.
        asking: which questions a training sample holds, and which are left out.
        unlabelled: see `TrainingTransform`.
        skip_bad_episodes: leave damaged episodes out, and list them; otherwise they are an error.
        exclude_episodes: episodes that are left out, by number; parts have their own.
        delta: see `Normalizer.delta`; None takes the robot's. Statistics are those of the delta actions: change it and compute them again.
    """

    root: Path | None = None
    parts: tuple[DataPartArgument, ...] = ()
    parts_may_differ: bool = False
    horizon: int = 10
    held_out_every: int = 10
    columns: Mapping[str, str] = field(default_factory=dict)
    action_column: str = ""
    end_padding: EndPadding = "repeat_last"
    max_image_age_s: float = 0.0
    state_noise: float = 0.0
    max_token_len: int = 256
    max_supervised: int = 128
    normalisation: Normalisation = "quantile"
    delta: tuple[bool, ...] | None = None
    asking: Asking = field(default_factory=Asking)
    unlabelled: Literal["refuse", "ask_nothing", "ask_known"] = "refuse"
    skip_bad_episodes: bool = False
    exclude_episodes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if (self.root is None) != bool(self.parts):
            given = (
                "neither is given" if self.root is None else f"both are given ({self.root} and {len(self.parts)} parts)"
            )
            raise ValueError(f"Name a dataset with `--data.root`, or several with `--data.parts`; {given}.")
        if self.parts and self.exclude_episodes:
            raise ValueError(
                f"data.exclude_episodes={self.exclude_episodes} does not say of which of the {len(self.parts)} parts; give the "
                "numbers to the parts (`exclude_episodes` of a `DataPart`)."
            )
        check_parts(self.parts)

    @property
    def datasets(self) -> tuple[DataPart, ...]:
        """The parts; `root` alone is one."""
        if self.parts or self.root is None:
            return self.parts
        return (DataPart(root=self.root, exclude_episodes=self.exclude_episodes),)


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """How devices are arranged. `data` is whatever remains: devices / (fsdp * tensor)."""

    fsdp: int = 1
    tensor: int = 1


@dataclass(frozen=True, kw_only=True)
class DistributedConfig:
    """How the processes of one run find each other. By default as SLURM says, elsewhere alone.

    Attributes:
        auto: let JAX find them on any cluster that it knows (Cloud TPU; Kubernetes with the package `kubernetes`; ...).
        coordinator: host:port of process 0.
        processes: how many there are.
        process: which one this is, from 0.
    """

    auto: bool = False
    coordinator: str | None = None
    processes: int | None = None
    process: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run.

    Attributes:
        name: the config's name; its file's name.
        exp_name: of this run; checkpoints go to `checkpoint_root / name / exp_name`.
        robot, script: registry names.
        questions: registry names; asked one after another about each target.
        question_parameters: question -> its parameters, beside the robot's axes, which are filled in.
        max_targets: no more targets are asked about than this; None asks about all.
        compatibility: see `Contract`.
        action_tokenizer, action_tokenizer_parameters: registry name, and what its fit takes beside the vocabulary's size.
            `{"processor": "physical-intelligence/fast"}` takes openpi's own FAST instead of fitting one.
        text_tokenizer: file or folder of a text tokenizer to take, or "paligemma" for a copy in the caches; None fits one.
        text_vocab_size, action_vocab_size: of tokenizers that are fitted on the run's data.
        vocab_skip: see `Vocabulary`; None is 128 with PaliGemma's ids, as openpi's networks have it, and else 0.
        assets: folder of the tokenizers and `norm_stats.json` that `scripts/compute_norm_stats.py` writes.
        asset_id: folder name of the statistics in the checkpoint, as openpi lays it out.
        init_from: where the parameters of a new run come from: a checkpoint of ours or openpi's, a safetensors file, or
            PaliGemma's `pt_224.npz`; also at an address such as `gs://openpi-assets/checkpoints/pi0_fast_base`, of which openpi's
            cache keeps a copy. None draws them. A LoRA network may start from a full checkpoint.
        freeze: which parameters stay as they are.
        objective: what is added to the cross-entropy; nothing by default.
        precision: `mixed` is openpi's: parameters, moments and the average are float32, the network computes in `model.dtype`.
            `bfloat16` stores all of them in half the memory and rounds updates at random (see `training.stochastic_rounding`).
        augmentation: of the training pictures, on the device: a name of `RECIPES`; `intended` is openpi's recipe as meant.
        accumulate: the batch goes through the network in so many pieces, one after another: the same gradient (to rounding) in
            less memory.
        memory: a run whose memory plan exceeds the devices is refused (`refuse`), or begun all the same (`warn`).
        ema_decay: of the parameter average that is evaluated and served; None turns it off.
        log_every, eval_every, save_every: in steps; 0 turns off. Steps that evaluate or decode get a line of the log, too.
        eval_samples: held-out samples whose losses are taken at every `eval_every`.
        decode_every: every so many steps, and at the end, `decode_samples` held-out samples are decoded as a robot would have them: errors of actions in
            native units, answers by question and word against the commonest answer; with pictures of them and of what the network
            sees. 0 turns off.
        keep: checkpoints that are kept.
        trackers: where figures and pictures go beside `metrics.jsonl`, `pictures/` and TensorBoard's files: `wandb`, `rerun`.
        resume: continue from the latest checkpoint if there is one; otherwise an existing run is refused.
        overwrite: delete an existing run of this name first.
    """

    name: str
    data: DataConfig
    exp_name: str = "default"
    robot: str = "libero"
    script: str = "inspire"
    questions: tuple[str, ...] = ("direction",)
    question_parameters: Mapping[str, Any] = field(default_factory=dict)
    max_targets: int | None = None
    compatibility: tuple[str, ...] = ()
    model: ModelConfig = GEMMA_2B
    init_from: str | Path | None = None
    freeze: FreezeConfig = TRAIN_ALL
    objective: Objective = PLAIN
    precision: Precision = "mixed"
    action_tokenizer: str = "fast"
    action_tokenizer_parameters: Mapping[str, Any] = field(default_factory=dict)
    text_tokenizer: str | None = None
    text_vocab_size: int = 768
    action_vocab_size: int = 256
    vocab_skip: int | None = None
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    mesh: MeshConfig = MeshConfig()
    distributed: DistributedConfig = DistributedConfig()
    batch_size: int = 32
    accumulate: int = 1
    memory: Literal["refuse", "warn"] = "refuse"
    steps: int = 30_000
    seed: int = 42
    augmentation: str = "intended"
    ema_decay: float | None = 0.99
    assets: Path = Path("assets")
    asset_id: str = "libero"
    checkpoint_root: Path = Path("checkpoints")
    log_every: int = 50
    eval_every: int = 1_000
    eval_samples: int = 64
    decode_every: int = 5_000
    decode_samples: int = 32
    save_every: int = 1_000
    keep: int = 2
    trackers: tuple[str, ...] = ()
    loader_threads: int = 2
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        for registry, names in (
            (ROBOTS, (self.robot,)),
            (SCRIPTS, (self.script,)),
            (QUESTIONS, (*self.questions, *self.question_parameters)),
            (COMPATIBILITY, self.compatibility),
            (ACTION_TOKENIZERS, (self.action_tokenizer,)),
            (RECIPES, (self.augmentation,)),
        ):
            for name in names:
                registry[name]  # raises with a suggestion
        if self.batch_size < 1 or self.steps < 1:
            raise ValueError(f"batch_size and steps must be positive; got {self.batch_size} and {self.steps}.")
        if self.accumulate < 1 or self.batch_size % self.accumulate:
            raise ValueError(f"accumulate={self.accumulate} must divide batch_size={self.batch_size}.")
        if self.precision not in get_args(Precision):
            raise ValueError(unknown_name("precision", self.precision, list(get_args(Precision))))
        if self.resume and self.overwrite:
            raise ValueError("resume and overwrite contradict each other; choose one.")
        if self.skip != PALIGEMMA_SKIP and self.init_from is not None and self.model.vocab_size == PALIGEMMA_IDS:
            raise ValueError(
                f"vocab_skip={self.skip} gives actions other ids than the weights of {self.init_from} know; openpi's "
                f"networks leave PaliGemma's last {PALIGEMMA_SKIP} ids alone. Leave vocab_skip out."
            )
        self.freeze.check(self.model)

    @property
    def embodiment(self) -> Robot:
        return ROBOTS[self.robot]

    @property
    def skip(self) -> int:
        """Ids at the end of the vocabulary that actions leave alone."""
        if self.vocab_skip is not None:
            return self.vocab_skip
        return PALIGEMMA_SKIP if self.model.vocab_size == PALIGEMMA_IDS else 0

    @property
    def trained_dtype(self) -> DType:
        """That parameters which train are stored in."""
        return "bfloat16" if self.precision == "bfloat16" else "float32"

    @property
    def delta(self) -> tuple[bool, ...]:
        """The dimensions of actions that are trained relative to the state."""
        return self.embodiment.delta if self.data.delta is None else self.data.delta

    @property
    def checkpoint_dir(self) -> Path:
        return self.checkpoint_root / self.name / self.exp_name

    @property
    def assets_dir(self) -> Path:
        return self.assets / self.name

    def build_questions(self) -> tuple[Question, ...]:
        """The questions in the robot's words."""
        parameters = [dict(self.question_parameters.get(name, {})) for name in self.questions]
        return tuple(
            QUESTIONS[name](**{"axes": self.embodiment.axes_in(p.get("frame", "base")), **p})
            for name, p in zip(self.questions, parameters, strict=True)
        )

    def build_script(self) -> Script:
        """The script with its questions."""
        return build_script(
            self.script, self.build_questions(), max_targets=self.max_targets, compatibility=self.compatibility
        )


def config_folder() -> Path:
    """`configs/` of the checkout: beside the package, else below the working directory."""
    beside = Path(__file__).parents[2] / "configs"
    return beside if beside.is_dir() else Path("configs")


def config_names() -> list[str]:
    """Every named config."""
    return sorted(p.stem for p in config_folder().glob("*.py") if not p.stem.startswith("_"))


def load_config(name: str) -> TrainConfig:
    """The config of `configs/<name>.py`.

    Raises:
        KeyError: there is no such file; suggests the closest name and lists all.
        ValueError: the file defines no `CONFIG`, or one of another name.
    """
    folder = config_folder()
    available = config_names()
    if name not in available:
        raise KeyError(unknown_name("config", name, available))
    spec = importlib.util.spec_from_file_location(f"configs.{name}", folder / f"{name}.py")
    if spec is None or spec.loader is None:
        raise ValueError(f"{folder / name}.py cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = getattr(module, "CONFIG", None)
    if not isinstance(config, TrainConfig) or config.name != name:
        raise ValueError(f"configs/{name}.py must define CONFIG = TrainConfig(name={name!r}, ...); got {config!r:.80}.")
    return config
