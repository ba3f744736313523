r"""The last step before the network and the first one behind it: prompts to ids, ids to actions.

`Inspire` is one model transform. It stands where openpi's `TokenizeFASTInputs` stands, writes the same four arrays, and can
be put into an upstream `DataConfig` as it is (third_party/openpi/inspire_in_openpi.md). Everything is written by the one
renderer, `inspire_fast.dialogue.render`, so a plain script gives openpi's ids.

    <bos> Task: ... ;\n | Question: ... Answer: | left | ;\n | Action: | 7 9 2 | "|" <eos> | padding
    token_ar_mask    0   |           1          |   1  |  1  |    1    |   1   |  1    1   |    0
    token_loss_mask  0   |           0          |   1  |  0  |    1    |   1   |  1    1   |    0
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from inspire_fast.core.types import SceneFacts, TokenSequence
from inspire_fast.data.facts import FactsTable
from inspire_fast.data.openpi.transforms import HELD, DataDict
from inspire_fast.data.training_transform import true_answers
from inspire_fast.dialogue.grounding.registry import GROUNDINGS
from inspire_fast.dialogue.render import PromptFields, render
from inspire_fast.dialogue.script import ActionSlot, Context, Forced, Script, pi0_fast
from inspire_fast.dialogue.vocabulary import Vocabulary


class MalformedActionsError(ValueError):
    """Ids that do not hold exactly one action chunk."""


@dataclass(frozen=True, kw_only=True)
class TokenizeFASTInputs:
    """`prompt`, `state` and `actions` -> ids and masks of plain pi0-FAST, exactly openpi's.

    Without actions the text ends before "Action: ", which openpi's own sampling lets the model write.

    Attributes:
        vocabulary: text and action ids.
        max_token_len: `l`, the length of all four arrays.

    Raises:
        ValueError: on a call: no prompt, NaN in the state, or more ids than fit (openpi cuts them off).
    """

    vocabulary: Vocabulary
    max_token_len: int

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        script, fields = pi0_fast(), _prompt_fields(data)
        if "actions" not in data:
            context = [s for s in script.segments if isinstance(s, Context)]
            script = Script(name=script.name, segments=tuple(context))
        rendered = render(script, fields, self.vocabulary, action_ids=_action_ids(data, self.vocabulary))
        return _with_tokens(data, rendered.tokens, self.max_token_len)


@dataclass(frozen=True, kw_only=True)
class Inspire:
    """`TokenizeFASTInputs` with a script's questions and answers: the one model transform that InSpire adds.

    Reads, beside `prompt`, `state` (normalised) and `actions` (normalised, delta where they are):

    - `facts`: `SceneFacts`, from which the true answers are computed; what a training sample needs if the script asks.
    - `targets`: the phrases to ask about. Otherwise those of the facts, else those found in the prompt.
    - `answers`: given ones, in order (this and `targets` as a list, tuple or array of texts). Without actions the text ends at the first question that is not answered, or behind
      "Action: " when all are: the policy is called once per answer and once for the actions.

    These three and the prompt are consumed: what is left can be batched.

    Attributes:
        script: the dialogue with its blanks; its weights are 0 or 1, since openpi's loss mask knows nothing else.
        vocabulary: text and action ids.
        max_token_len: `l`, the length of all four arrays.

    Raises:
        ValueError: on a call: no prompt, NaN in the state, no facts where the script asks, targets or answers that are no
            list of texts, answers that a question does not allow, or more ids than fit.
    """

    script: Script
    vocabulary: Vocabulary
    max_token_len: int

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        grounding = GROUNDINGS[self.script.grounding]
        facts: SceneFacts | None = data.get("facts")
        if facts is not None and self.script.questions:
            facts = grounding.facts(_prompt(data), facts)
        fields = _prompt_fields(data, self._targets(data, facts))
        answers = _texts(data, "answers")
        if facts is not None and not answers and "actions" in data:
            answers = true_answers(self.script, fields, facts)
        action_ids = _action_ids(data, self.vocabulary)
        rendered = render(self.script, fields, self.vocabulary, answers=answers, action_ids=action_ids)
        if action_ids is not None and rendered.empty is not None:
            raise ValueError(
                f"Script {self.script.name!r} asks about {fields.targets}, and the sample {fields.instruction!r} has neither "
                "`facts` nor enough `answers`. Label the dataset, or train the `pi0_fast` script."
            )
        rest = {k: v for k, v in data.items() if k not in ("facts", "targets", "answers")}
        return _with_tokens(rest, rendered.tokens, self.max_token_len)

    def _targets(self, data: DataDict, facts: SceneFacts | None) -> tuple[str, ...]:
        if not self.script.questions:
            return ()
        if data.get("targets") is not None:
            return self.script.asked(_texts(data, "targets"))
        if facts is not None:
            return self.script.asked(tuple(t.phrase for t in facts.targets))
        return self.script.asked(GROUNDINGS[self.script.grounding].ground(_prompt(data)))


@dataclass(frozen=True, kw_only=True)
class ExtractFASTActions:
    """The inverse of `TokenizeFASTInputs`: `actions` of sampled ids -> normalised actions float32 `[t, a]`.

    Raises:
        MalformedActionsError: on a call: the ids do not hold one chunk behind "Action: ". Never zeros, which are a motion.
    """

    vocabulary: Vocabulary
    action_horizon: int
    action_dim: int

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        if "actions" not in data:
            return data
        actions = read_actions(
            data["actions"], pi0_fast(), self.vocabulary, self.action_horizon, self.action_dim, prompted=False
        )
        return {**data, "actions": actions}


@dataclass(frozen=True, kw_only=True)
class InspireActions:
    """The inverse of `Inspire`: ids sampled behind "Action: " -> normalised actions float32 `[t, a]`.

    Attributes:
        script, vocabulary: as of `Inspire`.
        action_horizon, action_dim: of the chunk.
        on_malformed: `raise` an error; or `hold`: the answer gets a `status`, `ok` or `held`, and a held one a `reason` in
            place of actions.
    """

    script: Script
    vocabulary: Vocabulary
    action_horizon: int
    action_dim: int
    on_malformed: Literal["raise", "hold"] = "raise"

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        if "actions" not in data:
            return data
        try:
            actions = read_actions(
                data["actions"], self.script, self.vocabulary, self.action_horizon, self.action_dim, prompted=True
            )
        except MalformedActionsError as error:
            if self.on_malformed == "raise":
                raise
            rest = {k: v for k, v in data.items() if k != "actions"}
            return {**rest, "status": HELD, "reason": str(error)}
        status = {"status": "ok"} if self.on_malformed == "hold" else {}
        return {**data, "actions": actions, **status}


@dataclass(frozen=True)
class AddFacts:
    """`facts` of a dataset's row, found by `episode_index` and `frame_index`, which are consumed; before `Inspire`.

    An observation at inference has neither and passes; a row that is not labelled gets None.

    Raises:
        ValueError: on a call: one of the two alone.
    """

    table: FactsTable

    def __call__(self, data: DataDict) -> DataDict:
        """See the class."""
        keys = ("episode_index", "frame_index")
        present = [key for key in keys if key in data]
        if not present:
            return data
        if len(present) == 1:
            raise ValueError(f"Facts are found by {keys}; the data has {present[0]!r} alone. Repack and carry both.")
        episode, frame = (int(np.asarray(data[key]).item()) for key in keys)
        return {**{k: v for k, v in data.items() if k not in keys}, "facts": self.table.facts(episode, frame)}


def read_actions(
    sampled: Any, script: Script, vocabulary: Vocabulary, horizon: int, action_dim: int, *, prompted: bool
) -> np.ndarray:
    """Sampled ids -> one chunk of normalised actions, float32 `[horizon, action_dim]`.

    Args:
        sampled: whole numbers `[n]` of any type (openpi samples floats); whatever follows the terminator is ignored.
        script: ends in an action slot.
        vocabulary: text and action ids.
        horizon: actions of the chunk.
        action_dim: dimensions of an action.
        prompted: the ids begin with the chunk; otherwise the text before the slot ("Action: ") is looked for.

    Raises:
        MalformedActionsError: no whole numbers `[n]`, no such text, no terminator, an id that is no action's, or not exactly
            one chunk.
    """
    slot, before = script.segments[-1], script.segments[-2]
    if not isinstance(slot, ActionSlot) or not isinstance(before, Forced):
        raise ValueError(f"Script {script.name!r} does not act: its last segments are {script.segments[-2:]}.")
    ids = _ids(sampled)
    begin = "" if prompted else before.text
    try:
        return vocabulary.read_chunk(ids, horizon, action_dim, begin=begin, end=slot.end)
    except ValueError as error:
        raise MalformedActionsError(str(error)) from error


def _ids(sampled: Any) -> np.ndarray:
    ids = np.asarray(sampled)
    if ids.ndim != 1 or ids.dtype.kind not in "iuf":
        raise MalformedActionsError(f"Sampled ids are whole numbers [n], one sequence; got {ids.dtype} {ids.shape}.")
    if (bad := np.flatnonzero(~(ids == np.rint(ids)) | (np.abs(ids) > np.iinfo(np.int32).max))).size:
        raise MalformedActionsError(f"Sampled ids are whole numbers; got {ids[bad[0]]} at place {bad[0]}.")
    return ids.astype(np.int64)


def _texts(data: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Texts under a key of the data; none where it is not there."""
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


def _prompt_fields(data: Mapping[str, Any], targets: tuple[str, ...] = ()) -> PromptFields:
    state = np.asarray(data["state"])
    if state.ndim != 1 or not np.isfinite(state).all():
        raise ValueError(f"The state must be one finite vector [s]; got {state.shape}, bad at {_bad(state)}.")
    return PromptFields(instruction=_prompt(data), state=state, targets=targets)


def _bad(state: np.ndarray) -> list[int]:
    return np.flatnonzero(~np.isfinite(state)).tolist()


def _action_ids(data: Mapping[str, Any], vocabulary: Vocabulary) -> list[int] | None:
    return vocabulary.action.encode(np.asarray(data["actions"])) if "actions" in data else None


def _with_tokens(data: DataDict, tokens: TokenSequence, max_token_len: int) -> DataDict:
    """The data without its prompt and with openpi's four arrays, of the types that openpi's tokenizer has."""
    length = len(tokens)
    if length > max_token_len:
        raise ValueError(
            f"The dialogue has {length} ids, max_token_len is {max_token_len}. Set it to at least {length}; nothing is cut."
        )
    supervised = tokens.supervised if "actions" in data else np.zeros(length, bool)
    if supervised.any() and set(np.unique(tokens.weight[supervised])) != {1.0}:
        raise ValueError("openpi's loss mask is yes or no; this script has weights other than 0 and 1.")
    padding = (0, max_token_len - length)
    arrays = {
        "tokenized_prompt": np.pad(tokens.ids.astype(np.int64), padding),
        "tokenized_prompt_mask": np.arange(max_token_len) < length,
        "token_ar_mask": np.pad(tokens.causal.astype(np.int64), padding),
        "token_loss_mask": np.pad(supervised, padding),
    }
    return {**{k: v for k, v in data.items() if k != "prompt"}, **arrays}
