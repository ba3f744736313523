r"""InSpire's model transforms for an upstream `DataConfig`: prompts to ids, ids to actions.

`Inspire` takes the place of openpi's `TokenizeFASTInputs` and writes the same four arrays
(third_party/openpi/inspire_in_openpi.md). All text is written by the one renderer, `inspire_fast.dialogue.render`, so
the plain script gives openpi's ids.

    <bos> Task: ... ;\n | Question: ... Answer: | left | ;\n | Action: | 7 9 2 | "|" <eos> | padding
    token_ar_mask    0   |           1          |   1  |  1  |    1    |   1   |  1    1   |    0
    token_loss_mask  0   |           0          |   1  |  0  |    1    |   1   |  1    1   |    0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inspire_fast.core.types import SceneFacts, TokenSequence
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.openpi.transforms import DataDict
from inspire_fast.data.truths import NOTHING, left_out, true_answers
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.dialogue.render import PromptFields, render
from inspire_fast.dialogue.script import ActionSlot, Script
from inspire_fast.dialogue.vocabulary import Vocabulary


class MalformedActionsError(ValueError):
    """Ids that do not hold exactly one action chunk."""


@dataclass(frozen=True, kw_only=True)
class Inspire:
    """Tokenisation with a script's questions and answers: the one model transform that InSpire adds.

    Besides `prompt`, `state` (normalised) and `actions` (normalised, delta where they are), it reads:

    - `facts`: `SceneFacts`, from which the true answers are computed; a training sample needs them if the script asks.
    - `targets`: the phrases to ask about. Without them: those of the facts, else those found in the prompt.
    - `answers`: given ones, in order. Without actions the text ends at the first question that is not answered, or
      after "Action: " when all are: the policy is called once per answer and once for the actions.

    `targets` and `answers` are lists, tuples or arrays of texts. The three and the prompt are consumed: what is left
    can be batched.

    Attributes:
        script: the dialogue with its blanks; its weights are 0 or 1, since openpi's loss mask knows nothing else.
        vocabulary: text and action ids.
        max_token_len: `l`, the length of all four arrays.

    Raises:
        ValueError: on a call: no prompt, NaN in the state, no facts where the script asks, targets or answers that are
            no list of texts, answers that a question does not allow, or more ids than fit.
    """

    script: Script
    vocabulary: Vocabulary
    max_token_len: int

    def __call__(self, data: DataDict) -> DataDict:
        """The data without what was read, and with openpi's four arrays."""
        grounding = GROUNDINGS[self.script.grounding]
        facts: SceneFacts | None = data.get("facts")
        if facts is not None and self.script.questions:
            facts = grounding.facts(_prompt(data), facts)
        fields = PromptFields(
            instruction=_prompt(data),
            state=_state(data),
            targets=self._targets(data, facts),
            left_out=NOTHING if facts is None else left_out(self.script, facts),
        )
        answers = _texts(data, "answers")
        if facts is not None and not answers and "actions" in data:
            answers = true_answers(self.script, fields, facts)
        action_ids = self.vocabulary.action.encode(np.asarray(data["actions"])) if "actions" in data else None
        rendered = render(self.script, fields, self.vocabulary, answers=answers, action_ids=action_ids)
        if action_ids is not None and rendered.empty is not None:
            raise ValueError(
                f"Script {self.script.name!r} asks about {fields.targets}, and the sample {fields.instruction!r} has "
                "neither `facts` nor enough `answers`. Label the dataset, or train the `pi0_fast` script."
            )
        rest = {k: v for k, v in data.items() if k not in ("prompt", "facts", "targets", "answers")}
        return {**rest, **_arrays(rendered.tokens, self.max_token_len, supervise=action_ids is not None)}

    def _targets(self, data: DataDict, facts: SceneFacts | None) -> tuple[str, ...]:
        if not self.script.asks_about_targets:
            return ()
        if data.get("targets") is not None:
            return self.script.asked(_texts(data, "targets"))
        if facts is not None:
            return self.script.asked(tuple(t.phrase for t in facts.targets))
        return self.script.asked(GROUNDINGS[self.script.grounding].ground(_prompt(data)))


@dataclass(frozen=True, kw_only=True)
class InspireActions:
    """The inverse of `Inspire`: ids sampled after "Action: " -> normalised actions float32 `[t, a]`.

    Ids may be of any numeric type (openpi samples floats); what follows the terminator is ignored.

    Attributes:
        script, vocabulary: as of `Inspire`.
        action_horizon, action_dim: of the chunk.

    Raises:
        ValueError: the script ends in no action slot.
        MalformedActionsError: on a call: no whole numbers `[n]`, no terminator, an id that is no action's, or not
            exactly one chunk. Never zeros, which are a motion.
    """

    script: Script
    vocabulary: Vocabulary
    action_horizon: int
    action_dim: int

    def __post_init__(self) -> None:
        if not isinstance(self.script.segments[-1], ActionSlot):
            raise ValueError(f"Script {self.script.name!r} does not act: it ends in {self.script.segments[-1]}.")

    def __call__(self, data: DataDict) -> DataDict:
        """The data with its `actions`, if any, read."""
        if "actions" not in data:
            return data
        slot = self.script.segments[-1]
        assert isinstance(slot, ActionSlot)
        ids = _ids(data["actions"])
        try:
            actions = self.vocabulary.read_chunk(ids, self.action_horizon, self.action_dim, begin="", end=slot.end)
        except ValueError as error:
            raise MalformedActionsError(str(error)) from error
        return {**data, "actions": actions}


@dataclass(frozen=True)
class AddFacts:
    """`facts` of a dataset's row, found by its `episode_index` and `frame_index`; used before `Inspire`.

    Consumes the two indices. An observation at inference has neither and passes; an unlabelled row gets None.

    Raises:
        ValueError: on a call: one of the two alone.
    """

    table: FactsTable

    def __call__(self, data: DataDict) -> DataDict:
        """The data with `facts` in place of the two indices."""
        keys = ("episode_index", "frame_index")
        present = [key for key in keys if key in data]
        if not present:
            return data
        if len(present) == 1:
            raise ValueError(f"Facts are found by {keys}; the data has {present[0]!r} alone. Repack and carry both.")
        episode, frame = (int(np.asarray(data[key]).item()) for key in keys)
        return {**{k: v for k, v in data.items() if k not in keys}, "facts": self.table.facts(episode, frame)}


def _ids(sampled: Any) -> np.ndarray:
    ids = np.asarray(sampled)
    if ids.ndim != 1 or ids.dtype.kind not in "iuf":
        raise MalformedActionsError(f"Sampled ids are whole numbers [n], one sequence; got {ids.dtype} {ids.shape}.")
    if (bad := np.flatnonzero(~(ids == np.rint(ids)) | (np.abs(ids) > np.iinfo(np.int32).max))).size:
        raise MalformedActionsError(f"Sampled ids are whole numbers; got {ids[bad[0]]} at place {bad[0]}.")
    return ids.astype(np.int64)


def _texts(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Texts under a key of the data; empty where the key is missing."""
    given = data.get(key)
    texts = () if given is None else given.tolist() if isinstance(given, np.ndarray) else given
    # A single text would be taken apart into its letters.
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{key!r} is a list of texts; got {given!r}.")
    return tuple(map(str, texts))


def _prompt(data: Mapping[str, Any]) -> str:
    if data.get("prompt") is None:
        raise ValueError(f"A prompt is required: send one, or use InjectDefaultPrompt; the data has {sorted(data)}.")
    return str(np.asarray(data["prompt"]).item())


def _state(data: Mapping[str, Any]) -> np.ndarray:
    state = np.asarray(data["state"])
    if state.ndim != 1 or not np.isfinite(state).all():
        bad = np.flatnonzero(~np.isfinite(state)).tolist()
        raise ValueError(f"The state must be one finite vector [s]; got {state.shape}, bad at {bad}.")
    return state


def _arrays(tokens: TokenSequence, max_token_len: int, *, supervise: bool) -> dict[str, np.ndarray]:
    """Openpi's four arrays, of the types that its tokenizer has; an inference prompt supervises nothing."""
    length = len(tokens)
    if length > max_token_len:
        raise ValueError(
            f"The dialogue has {length} ids, max_token_len is {max_token_len}. Set it to at least {length}; nothing is "
            "cut."
        )
    supervised = tokens.supervised & supervise
    if supervised.any() and set(np.unique(tokens.weight[supervised])) != {1.0}:
        raise ValueError("openpi's loss mask is yes or no; this script has weights other than 0 and 1.")
    padding = (0, max_token_len - length)
    return {
        "tokenized_prompt": np.pad(tokens.ids.astype(np.int64), padding),
        "tokenized_prompt_mask": np.arange(max_token_len) < length,
        "token_ar_mask": np.pad(tokens.causal.astype(np.int64), padding),
        "token_loss_mask": np.pad(supervised, padding),
    }
