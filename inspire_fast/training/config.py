"""Training config: the settings of one run, in groups. `named_configs` finds and loads the files of `configs/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from inspire_fast.checkpoints.contract import COMPATIBILITY, build_script, require_asset_id
from inspire_fast.core.files import require_folder_name
from inspire_fast.core.ranges import Count, Natural, Seed, require_ranges
from inspire_fast.core.registry import require_choice
from inspire_fast.data.placement import Placement
from inspire_fast.dialogue.forms import form_of
from inspire_fast.dialogue.locations import Locations
from inspire_fast.dialogue.questions import QUESTIONS, Question
from inspire_fast.dialogue.script import SCRIPTS, Script
from inspire_fast.models.config import GEMMA_2B, DType, ModelConfig
from inspire_fast.models.freeze import TRAIN_ALL, FreezeConfig
from inspire_fast.models.loss import PLAIN, Objective
from inspire_fast.robots import ROBOTS, Robot
from inspire_fast.tokenizers.registry import require_fit_parameters
from inspire_fast.tokenizers.text.paligemma import VOCAB_SIZE as PALIGEMMA_IDS
from inspire_fast.training.augment import RECIPES
from inspire_fast.training.dataset_config import DataConfig, DataPart
from inspire_fast.training.optimizer import OptimizerConfig
from inspire_fast.training.parameters import Parameters
from inspire_fast.training.stochastic_rounding import Precision

PALIGEMMA_SKIP = 128
SKIP_BESIDE_LOCATIONS = 1152  # PaliGemma's 1024 locations and 128 codes of segmentation


@dataclass(frozen=True, kw_only=True)
class DialogueConfig:
    """The questions of a run and the script that asks them.

    Attributes:
        script: registry name.
        questions: registry names; asked one after another about each target, then those about the scene.
        question_parameters: question -> its parameters, added to the robot's axes.
        script_parameters: parameters of the script, such as the wording of `st4vla`'s spatial prompt.
        max_targets: largest number of targets that are asked about; None asks about all.
        compatibility: see `Contract`.
    """

    script: str = "inspire"
    questions: tuple[str, ...] = ("direction",)
    question_parameters: Parameters = field(default_factory=dict)
    script_parameters: Parameters = field(default_factory=dict)
    max_targets: Count | None = None
    compatibility: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_ranges(self)
        SCRIPTS[self.script]  # these raise with a suggestion
        for name in (*self.questions, *self.question_parameters):
            QUESTIONS[name]
        if len(set(self.questions)) < len(self.questions):
            raise ValueError(f"dialogue.questions names a question twice: {', '.join(self.questions)}.")
        if wrong := {k: v for k, v in self.question_parameters.items() if not isinstance(v, Mapping)}:
            raise ValueError(
                f"dialogue.question_parameters gives each question an object of its parameters; got {wrong}. On the "
                """command line: --dialogue.question-parameters direction '{"grasped": "held"}'."""
            )
        for name in self.compatibility:
            COMPATIBILITY[name]

    def build_questions(self, robot: Robot) -> tuple[Question, ...]:
        """The questions in the robot's words, whether the script asks them or not."""
        parameters = [dict(self.question_parameters.get(name, {})) for name in self.questions]
        return tuple(
            QUESTIONS[name](**{"axes": robot.axes_in(p.get("frame", "base")), **p})
            for name, p in zip(self.questions, parameters, strict=True)
        )

    def build_script(self, robot: Robot) -> Script:
        """The script with its questions."""
        return build_script(
            self.script,
            self.build_questions(robot),
            max_targets=self.max_targets,
            compatibility=self.compatibility,
            parameters=self.script_parameters,
        )


@dataclass(frozen=True, kw_only=True)
class TokenizersConfig:
    """The tokenizers of text and actions, loaded or fitted on the run's data.

    Attributes:
        action: registry name of the action tokenizer.
        action_parameters: parameters of its fit besides the vocabulary's size.
            `{"processor": "physical-intelligence/fast"}` takes openpi's own FAST instead of fitting one.
        action_vocab_size: ids of a fitted action tokenizer.
        text: file or folder of a text tokenizer, or "paligemma" for a copy in the caches; None fits one.
        text_vocab_size: ids of a fitted text tokenizer.
        vocab_skip: see `Vocabulary`; None is 128 with PaliGemma's ids, as in openpi's networks, and 0 otherwise. With
            1152, actions leave PaliGemma's location ids alone: for weights that never saw actions.
    """

    action: str = "fast"
    action_parameters: Parameters = field(default_factory=dict)
    action_vocab_size: Count = 256
    text: str | None = None
    text_vocab_size: Count = 768
    vocab_skip: Natural | None = None

    def __post_init__(self) -> None:
        require_ranges(self)
        require_fit_parameters(self.action, self.action_parameters)


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Checkpoints of a run.

    Attributes:
        root: checkpoints go to `root / name / exp_name / step`.
        every: steps between checkpoints; 0 saves the last step only.
        keep: number of checkpoints that are kept.
    """

    root: Path = Path("checkpoints")
    every: Natural = 1_000
    keep: Count = 2

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(frozen=True, kw_only=True)
class LoggingConfig:
    """Log lines and trackers of a run.

    Attributes:
        every: steps between lines of `metrics.jsonl`; 0 turns them off. Steps that evaluate or decode get a line too.
        trackers: where metrics and images go in addition to `metrics.jsonl`, `images/` and TensorBoard's files:
            `wandb`, `rerun`.
    """

    every: Natural = 50
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Evaluation on held-out samples during a run.

    Attributes:
        every: steps between evaluations of the held-out losses; 0 turns them off.
        samples: number of held-out samples for these losses.
        decode_every: steps between decodings of held-out samples, as a robot would run them: errors of actions in
            native units, answers by question and word against the most frequent answer, and images of both. The last
            step decodes too. 0 turns decoding off.
        decode_samples: number of held-out samples that are decoded; also of each part that answers and does not act,
            whose answers about places are scored at every evaluation (`training.reporting.grounding_guard`).
        gradient_parts: measure the gradients of answers and of actions apart at every evaluation, on a held-out batch;
            takes the memory of two gradients.
    """

    every: Natural = 1_000
    samples: Natural = 64
    decode_every: Natural = 5_000
    decode_samples: Count = 32
    gradient_parts: bool = False

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """The arrangement of devices. The axis `data` gets the rest: devices / (fsdp * tensor)."""

    fsdp: Count = 1
    tensor: Count = 1

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(frozen=True, kw_only=True)
class DistributedConfig:
    """How the processes of one run find each other. By default through SLURM's variables, elsewhere one process alone.

    Attributes:
        auto: let JAX find them on any cluster that it knows (Cloud TPU; Kubernetes with the package `kubernetes`; ...).
        coordinator: host:port of process 0.
        processes: number of processes.
        process: number of this process, from 0.
    """

    auto: bool = False
    coordinator: str | None = None
    processes: Count | None = None
    process: Natural | None = None

    def __post_init__(self) -> None:
        require_ranges(self)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run.

    Example:
        >>> from dataclasses import replace
        >>> import inspire_fast as ifa
        >>> config = replace(ifa.load_config("debug"), exp_name="mine", steps=10)
        >>> config.checkpoint_dir.name
        'mine'

    Attributes:
        name: the config's name; its file's name, and that of one folder.
        exp_name: name of this run, and of one folder; checkpoints go to `checkpoint.root / name / exp_name`.
        robot: registry name.
        assets: folder of the tokenizers and `norm_stats.json` that `scripts/compute_norm_stats.py` writes.
        asset_id: folder name of the statistics in the checkpoint, as in openpi's checkpoints.
        init_from: source of a new run's parameters: a checkpoint of ours or openpi's, a safetensors file, or
            PaliGemma's `pt_224.npz`; also an address such as `gs://openpi-assets/checkpoints/pi0_fast_base`, of which
            openpi's cache keeps a copy, or the name of a shipped one (`inspire_acting`). None draws random parameters.
            A LoRA network may start from a full checkpoint.
        freeze: which parameters do not train.
        objective: what is added to the cross-entropy; nothing by default.
        precision: `mixed` is openpi's: parameters, moments and EMA are float32, the network computes in `model.dtype`.
            `bfloat16` stores all of them in half the memory with stochastic rounding (`training.stochastic_rounding`).
        grad_accum_steps: microbatches per step. The batch goes through the network one microbatch after another: the
            same gradient (to rounding) in less memory.
        memory: a run whose memory estimate exceeds the devices is refused (`refuse`), or started with a warning
            (`warn`).
        resume: continue from the latest checkpoint if there is one; otherwise an existing run is refused.
        overwrite: delete an existing run of this name first; a folder that holds no run is never deleted.
    """

    name: str
    data: DataConfig
    exp_name: str = "default"
    robot: str = "libero"
    dialogue: DialogueConfig = field(default_factory=DialogueConfig)
    tokenizers: TokenizersConfig = field(default_factory=TokenizersConfig)
    model: ModelConfig = GEMMA_2B
    init_from: str | Path | None = None
    freeze: FreezeConfig = TRAIN_ALL
    objective: Objective = PLAIN
    precision: Precision = "mixed"
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    batch_size: Count = 32
    grad_accum_steps: Count = 1
    steps: Count = 30_000
    seed: Seed = 42
    mesh: MeshConfig = MeshConfig()
    distributed: DistributedConfig = DistributedConfig()
    memory: Literal["refuse", "warn"] = "refuse"
    assets: Path = Path("assets")
    asset_id: str = "libero"
    checkpoint: CheckpointConfig = CheckpointConfig()
    logging: LoggingConfig = LoggingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        require_ranges(self)
        require_folder_name("name", self.name)
        require_folder_name("exp_name", self.exp_name)
        require_asset_id(self.asset_id)
        ROBOTS[self.robot]  # raises with a suggestion
        if self.batch_size % self.grad_accum_steps:
            raise ValueError(f"grad_accum_steps={self.grad_accum_steps} must divide batch_size={self.batch_size}.")
        require_choice("precision", self.precision, Precision)
        if self.resume and self.overwrite:
            raise ValueError("resume and overwrite contradict each other; choose one.")
        paligemma = self.init_from is not None and self.model.vocab_size == PALIGEMMA_IDS
        if paligemma and self.skip not in (PALIGEMMA_SKIP, SKIP_BESIDE_LOCATIONS):
            raise ValueError(
                f"tokenizers.vocab_skip={self.skip} gives actions other ids than the weights of {self.init_from} know; "
                f"openpi's networks leave PaliGemma's last {PALIGEMMA_SKIP} ids unused. Leave vocab_skip out, or set "
                f"it to {SKIP_BESIDE_LOCATIONS} for weights that never saw actions."
            )
        self.freeze.check(self.model)
        self.build_script()  # raises if a question and its parameters do not fit
        for part in self.data.datasets:
            self.script_of(part)
        dropout = self.data.question_dropout
        if not self.build_script().acts and (dropout.without or dropout.unsupervised):
            raise ValueError(
                f"Script {self.dialogue.script!r} does not act: a sample whose questions are left out or carry no loss "
                f"teaches nothing. Set data.question_dropout.without and .unsupervised to 0; got {dropout}."
            )

    @property
    def embodiment(self) -> Robot:
        """The robot."""
        return ROBOTS[self.robot]

    @property
    def skip(self) -> int:
        """Ids at the end of the vocabulary that actions do not use."""
        if self.tokenizers.vocab_skip is not None:
            return self.tokenizers.vocab_skip
        return PALIGEMMA_SKIP if self.model.vocab_size == PALIGEMMA_IDS else 0

    @property
    def placement(self) -> Placement | None:
        """Crop and rotation that are drawn on the host, because labels are places in the picture; None: none is."""
        scripts = [self.build_script(), *map(self.script_of, self.data.datasets)]
        forms = (form_of(question) for script in scripts for question in script.questions)
        recipe = RECIPES[self.data.augmentation]
        places = recipe.moves and any(isinstance(form, Locations) for form in forms)
        return Placement(crop=recipe.crop, rotation_deg=recipe.rotation_deg) if places else None

    @property
    def trained_dtype(self) -> DType:
        """Storage type of the parameters that train."""
        return "bfloat16" if self.precision == "bfloat16" else "float32"

    @property
    def delta(self) -> tuple[bool | float, ...]:
        """The dimensions of actions that are trained relative to the state; see `Robot.relative`."""
        return self.embodiment.delta if self.data.delta is None else self.embodiment.relative(self.data.delta)

    @property
    def checkpoint_dir(self) -> Path:
        """Folder of the run's checkpoints and log."""
        return self.checkpoint.root / self.name / self.exp_name

    @property
    def assets_dir(self) -> Path:
        """Folder of the run's tokenizers and statistics."""
        return self.assets / self.name

    def build_script(self) -> Script:
        """The script with its questions, in the robot's words."""
        return self.dialogue.build_script(self.embodiment)

    def script_of(self, part: DataPart) -> Script:
        """The script that a part's samples are rendered with: its own, or the run's."""
        return self.dialogue_of(part).build_script(self.embodiment)

    def dialogue_of(self, part: DataPart) -> DialogueConfig:
        """The run's dialogue, with the part's own script (without parameters) and questions where it names them."""
        own = replace(self.dialogue, script=part.script, script_parameters={}) if part.script else self.dialogue
        return replace(own, questions=part.questions) if part.questions else own
