"""Model cards for the hub, made from a checkpoint's contract: use, meaning of the numbers, training, figures."""

from __future__ import annotations

from collections.abc import Sequence

from inspire_fast.checkpoints.contract import Contract
from inspire_fast.robots import ROBOTS

_HEADER = """---
library_name: inspire_fast
pipeline_tag: robotics
tags: [robotics, vision-language-action, pi0-fast, inspire]
{licence}---
"""
_LIMITS = """Trained for this robot, these cameras and this rate; a control loop of inspire_fast refuses another one. A
policy can be wrong: keep the robot's limits and a person at the emergency stop.
"""
_USE = """```python
import inspire_fast as ifa

policy = ifa.load_policy("hf://{repo}")
chunk = policy.infer({{**ifa.ROBOTS["{robot}"].fake_native(), "prompt": "..."}})  # your cameras and state
chunk.status, chunk.actions, chunk.answers
```"""


def write_card(contract: Contract, repo: str, *, figures: str = "", licence: str = "") -> str:
    """The card as Markdown with the hub's header.

    Args:
        contract: of the checkpoint.
        repo: `org/name` that it will be at.
        figures: Markdown of what was measured: episodes, intervals, protocol. Without it the card says that there are
            none.
        licence: the hub's name of the weights' licence; empty leaves it out.
    """
    robot = ROBOTS[contract.robot]
    header = _HEADER.format(licence=f"license: {licence}\n" if licence else "")
    measured = figures.strip() or "No figures were given: nothing is claimed about success."
    return "\n\n".join(
        [
            f"{header}\n# {repo.rpartition('/')[2]}",
            "A FAST-tokenized pi0 policy that answers [InSpire](https://arxiv.org/abs/2505.13888) questions and acts."
            if contract.questions
            else "A FAST-tokenized pi0 policy.",
            "## Use",
            _USE.format(repo=repo, robot=contract.robot),
            "## What the numbers mean",
            _table(
                [
                    ("robot", f"`{contract.robot}`"),
                    ("cameras", ", ".join(f"`{native}`" for native in robot.cameras)),
                    ("images", contract.image_orientation),
                    ("state", ", ".join(robot.state_names)),
                    ("actions", ", ".join(robot.action_names)),
                    ("deltas", "yes" if any(contract.delta) else "no"),
                    ("chunk", f"{contract.horizon} actions at {contract.control_hz or robot.control_hz:g} Hz"),
                    ("action tokens", f"`{contract.action_tokenizer}`"),
                    ("script", f"`{contract.script}`"),
                    *(("question", _wording(question)) for question in contract.questions),
                ]
            ),
            "## Training",
            _table(
                [
                    ("config", f"`{contract.config.get('name', 'not recorded')}`"),
                    ("steps", contract.config.get("steps", "not recorded")),
                    ("batch size", contract.config.get("batch_size", "not recorded")),
                    ("datasets", ", ".join(_datasets(contract)) or "not recorded"),
                    ("revision", f"`{contract.revision or 'not recorded'}`"),
                    ("inspire_fast", contract.package_version),
                ]
            ),
            "## Figures",
            measured,
            "## Limits",
            _LIMITS,
        ]
    )


def _table(rows: Sequence[tuple[str, object]]) -> str:
    return "\n".join(["| what | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def _wording(question: object) -> str:
    given = dict(question) if isinstance(question, dict) else {}
    return f"`{given.get('name')}`: {given.get('parameters', {}).get('template', 'its own wording')}"


def _datasets(contract: Contract) -> list[str]:
    data = contract.config.get("data", {})
    return [str(part.get("name")) for part in data.get("parts", [])]
