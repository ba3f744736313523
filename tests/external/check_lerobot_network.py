"""LeRobot's own PI0Fast policy, small: what it computes and reads, and whether files of ours give that. See README.md.

    python tests/external/check_lerobot_network.py write tests/checkpoints/data/lerobot_pi0_fast
    python tests/external/check_lerobot_network.py compare FOLDER/policy --with tests/checkpoints/data/lerobot_pi0_fast
    python tests/external/check_lerobot_network.py read FOLDER --with tests/checkpoints/data/lerobot_pi0_fast

`write` draws random weights, lets LeRobot save them, runs its training pass on fixed inputs, and keeps the logits of
the actions' positions. `compare` lets LeRobot load a policy strictly and asks for the same logits. `read` lets it load
the pipelines of FOLDER/policy with the tokenizer of FOLDER/tokenizer, and keeps the ids that its steps make and the
numbers that they normalise in `pipelines.json` of the other folder, or compares. `write_lerobot_policy.py` makes
FOLDER.

LeRobot's classes are as installed; only the sizes that it writes into PaliGemma's configuration are smaller, and the
FAST processor is replaced by fixed ids. Nothing of this package is imported: LeRobot's environment needs no JAX.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
from pathlib import Path
import sys
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

VOCABULARY, CAMERAS = 512, ("base_0_rgb", "left_wrist_0_rgb")
LANGUAGE = {"width": 24, "depth": 2, "mlp_dim": 40, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 8,
    "image_size": 24,
    "projection_dim": LANGUAGE["width"],
}
TOLERANCE = 1e-5


def policy_class() -> Any:
    """LeRobot's policy, at the sizes of this file."""
    module: Any = importlib.import_module("lerobot.policies.pi0_fast.modeling_pi0_fast")
    network = module.PaliGemmaForConditionalGenerationWithPiGemma

    def small(config: Any) -> Any:
        config.text_config.vocab_size = config._vocab_size = VOCABULARY
        config.projection_dim = config.hidden_size = LANGUAGE["width"]
        for name, value in VISION.items():
            setattr(config.vision_config, name, value)
        return network(config=config)

    class NoTokenizer:
        @staticmethod
        def from_pretrained(*_: Any, **__: Any) -> None:
            return None

    module.PaliGemmaForConditionalGenerationWithPiGemma = small
    module.get_gemma_config = lambda variant: module.GemmaConfig(**LANGUAGE)
    transformers: Any = importlib.import_module("transformers")
    for place in (module, transformers):  # LeRobot 0.5 imports them where they are used
        place.AutoProcessor = place.AutoTokenizer = NoTokenizer
    return module.PI0FastPolicy


def draw(policy: Any, seed: int) -> None:
    """Weights that give every operation something to do, the embedding's also to the head: our network ties them."""
    torch: Any = importlib.import_module("torch")
    rng = np.random.default_rng(seed)
    for name, value in sorted(policy.state_dict().items()):
        spread = 0.3 if value.ndim == 1 else 1.5 * value[0].numel() ** -0.5
        value.copy_(torch.from_numpy(rng.normal(0, spread, tuple(value.shape)).astype(np.float32)))
        assert name.endswith(("weight", "bias")), name
    paligemma = policy.model.paligemma_with_expert.paligemma
    paligemma.lm_head.weight.data.copy_(paligemma.model.language_model.embed_tokens.weight)


def drawn_inputs(seed: int) -> dict[str, np.ndarray]:
    """Two rows of pictures in [-1, 1], prompts padded at the end, and actions likewise."""
    rng = np.random.default_rng(seed)
    size = VISION["image_size"]
    images = {f"image/{name}": rng.uniform(-1, 1, (2, size, size, 3)).astype(np.float32) for name in CAMERAS}
    return images | {
        "prompt": rng.integers(0, VOCABULARY, (2, 7)),
        "prompt_valid": np.arange(7) < [[7], [4]],
        "actions": rng.integers(0, VOCABULARY, (2, 6)),
        "actions_valid": np.arange(6) < [[5], [6]],
    }


def run(policy: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """LeRobot's training pass: what enters the language model, the logits of the actions' positions, the loss."""
    torch: Any = importlib.import_module("torch")
    network, head = policy.model.eval(), {}
    given = {name: torch.from_numpy(value) for name, value in inputs.items()}
    images = [given[f"image/{name}"].permute(0, 3, 1, 2) for name in CAMERAS]
    shown = [torch.ones(2, dtype=torch.bool) for _ in CAMERAS]
    arguments = (images, shown, *(given[n] for n in ("prompt", "prompt_valid", "actions", "actions_valid")))
    hook = network.paligemma_with_expert.paligemma.lm_head.register_forward_hook(
        lambda _module, _inputs, output: head.update(logits=output)
    )
    with torch.no_grad():
        loss = network(*arguments)["loss"]
        embedded = network.embed_prefix_fast(*arguments)[0]
    hook.remove()
    found = {"embedded": embedded, "logits": head["logits"], "loss": loss.reshape(1)}
    return {name: value.numpy() for name, value in found.items()}


def new_policy() -> Any:
    """A policy with LIBERO's features."""
    config: Any = importlib.import_module("lerobot.policies.pi0_fast.configuration_pi0_fast")
    types: Any = importlib.import_module("lerobot.configs.types")
    size = (3, VISION["image_size"], VISION["image_size"])
    visual = {f"observation.images.{name}": types.PolicyFeature(types.FeatureType.VISUAL, size) for name in CAMERAS}
    return policy_class()(
        config.PI0FastConfig(
            device="cpu",
            chunk_size=10,
            n_action_steps=10,
            image_resolution=size[1:],
            input_features={**visual, "observation.state": types.PolicyFeature(types.FeatureType.STATE, (8,))},
            output_features={"action": types.PolicyFeature(types.FeatureType.ACTION, (7,))},
        )
    )


def write(folder: Path) -> None:
    """The reference's files."""
    policy = new_policy()
    draw(policy, seed=0)
    policy.save_pretrained(folder)
    inputs = drawn_inputs(seed=1)
    save_file(inputs | run(policy, inputs), str(folder / "outputs.safetensors"))
    sys.stdout.write(f"{folder}: {sum(f.stat().st_size for f in folder.iterdir()):,} bytes\n")


def compare(folder: Path, reference: Path, *, own_config: bool) -> None:
    """LeRobot loads `folder`; raises SystemExit where keys or logits are others."""
    torch: Any = importlib.import_module("torch")
    policy = new_policy() if own_config else policy_class().from_pretrained(folder, strict=True)
    stored = {name: torch.from_numpy(value) for name, value in load_file(folder / "model.safetensors").items()}
    # `from_pretrained` prints what it could not load and goes on; this raises.
    policy.load_state_dict(policy._fix_pytorch_state_dict_keys(stored, policy.config), strict=True)
    expected = load_file(reference / "outputs.safetensors")
    found = run(policy, {name: value for name, value in expected.items() if name not in ("embedded", "logits", "loss")})
    off = {name: float(np.abs(found[name] - expected[name]).max()) for name in found}
    sys.stdout.write(f"largest differences: {off}; largest logit {np.abs(expected['logits']).max():.3f}\n")
    if max(off.values()) > TOLERANCE:
        raise SystemExit(f"{folder} does not compute what {reference} does.")


TASK, FAST_IDS = " Put_it on\nthe PLATE", [3, 141, 0, 59]


def read_pipelines(folder: Path) -> dict[str, Any]:
    """What the pipelines of `folder` make of one frame, and of a normalised action."""
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    processor: Any = importlib.import_module("lerobot.processor")
    converters: Any = importlib.import_module("lerobot.processor.converters")
    steps: Any = importlib.import_module("lerobot.processor.tokenizer_processor")
    importlib.import_module("lerobot.policies.pi0_fast.processor_pi0_fast")

    class FixedIds:
        @staticmethod
        def from_pretrained(*_: Any, **__: Any) -> Any:
            return lambda actions: [FAST_IDS]

    steps.AutoProcessor = transformers.AutoProcessor = FixedIds
    text = str(folder / "tokenizer")
    before = processor.PolicyProcessorPipeline.from_pretrained(
        folder / "policy",
        config_filename="policy_preprocessor.json",
        overrides={
            "tokenizer_processor": {"tokenizer_name": text},
            "action_tokenizer_processor": {"paligemma_tokenizer_name": text},
        },
    )
    after = processor.PolicyProcessorPipeline.from_pretrained(
        folder / "policy",
        config_filename="policy_postprocessor.json",
        to_transition=converters.policy_action_to_transition,
        to_output=converters.transition_to_policy_action,
    )
    state, actions = torch.linspace(-1.5, 1.2, 8), torch.linspace(-0.9, 0.9, 70).reshape(1, 10, 7)
    frame = before({"observation.state": state, "action": actions, "task": TASK})
    valid, acted = frame["observation.language.attention_mask"][0].bool(), frame["action.token_mask"][0].bool()
    return {
        "task": TASK,
        "fast": FAST_IDS,
        "state": state.tolist(),
        "actions": actions[0].tolist(),
        "prompt": frame["observation.language.tokens"][0][valid].tolist(),
        "action_ids": frame["action.tokens"][0][acted].tolist(),
        "normalised": frame["action"][0].tolist(),
        "unnormalised": after(frame["action"])[0].tolist(),
    }


def keep_or_compare(folder: Path, reference: Path) -> None:
    """Writes `pipelines.json`, or raises SystemExit where the file says otherwise."""
    found, file = read_pipelines(folder), reference / "pipelines.json"
    sys.stdout.write(f"{found}\n")
    if not file.exists():
        file.write_text(json.dumps(found) + "\n", encoding="utf-8")
    elif json.loads(file.read_text(encoding="utf-8")) != found:
        raise SystemExit(f"{folder} is read otherwise than {file} says.")


def main() -> None:
    """Writes, compares or reads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("write", "compare", "read"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--with", dest="reference", type=Path, default=Path())
    parser.add_argument("--own-config", action="store_true", help="for versions that refuse the file's config.json")
    arguments = parser.parse_args()
    versions = {name: importlib.metadata.version(name) for name in ("lerobot", "transformers", "torch")}
    sys.stdout.write(f"{versions}\n")
    if arguments.what == "write":
        write(arguments.folder)
    elif arguments.what == "read":
        keep_or_compare(arguments.folder, arguments.reference)
    else:
        compare(arguments.folder, arguments.reference, own_config=arguments.own_config)


if __name__ == "__main__":
    main()
