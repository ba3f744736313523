import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest
import sentencepiece
import tokenizers as hf
from tokenizers import AddedToken, decoders, models, normalizers

from inspire_fast.dialogue.testing import DIRECTION, tiny_vocabulary
from inspire_fast.tokenizers.text.models import SentencePieceModel, TokenizerJson
from inspire_fast.tokenizers.text.tokenizer import LOCATIONS, SEGMENTS, TextTokenizer

ANY_TEXT = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00▁"), max_size=40)
SENTENCES = (
    "Task: put the red block on the plate, State: 128 7 255;\n",
    "Question: where is the bowl? Answer: left;\nAction: |",
)


def as_tokenizer_json(model: bytes, *, special: bool = False) -> bytes:
    """A SentencePiece BPE as a `tokenizer.json`: merges are the pairs that spell a piece, best score first."""
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    names = [pieces.id_to_piece(i) for i in range(pieces.vocab_size())]
    ids = {name: i for i, name in enumerate(names)}
    plain = [i for i, n in enumerate(names) if not (pieces.is_control(i) or pieces.is_unknown(i) or pieces.is_byte(i))]
    scored = [i for i in plain if pieces.get_score(i) < 0]
    merges = [
        pair
        for i in sorted(scored, key=lambda i: -pieces.get_score(i))
        for pair in sorted(
            ((names[i][:n], names[i][n:]) for n in range(1, len(names[i]))),
            key=lambda p: (ids.get(p[0], -1), ids.get(p[1], -1)),
        )
        if pair[0] in ids and pair[1] in ids
    ]
    tokenizer = hf.Tokenizer(models.BPE(ids, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([names[i] for i in range(len(names)) if pieces.is_control(i)])
    user = [AddedToken(names[i], normalized=True, special=special) for i in plain if pieces.get_score(i) >= 0]
    tokenizer.add_special_tokens(user) if special else tokenizer.add_tokens(user)
    return tokenizer.to_str().encode()


def model_file(*, locations: tuple[str, ...] = ()) -> bytes:
    """A small SentencePiece model, with location pieces of its own as PaliGemma's."""
    small = TextTokenizer.fit(SENTENCES * 4, vocab_size=330 + len(locations), symbols=locations)
    return small._model.data


@given(text=ANY_TEXT)
def test_any_text_round_trips(text: str) -> None:
    tokenizer = tiny_vocabulary().text
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_ids_are_gemmas() -> None:
    tokenizer = tiny_vocabulary().text
    assert (tokenizer.eos_id, tokenizer.bos_id) == (1, 2)
    assert tokenizer.encode("|", eos=True)[-1] == 1
    assert tokenizer.encode("Task", bos=True)[0] == 2


def test_symbols_are_one_id_each() -> None:
    tokenizer = tiny_vocabulary().text
    ids = [tokenizer.encode(" " + answer) for answer in DIRECTION.answers]
    assert all(len(i) == 1 for i in ids)


def test_file_round_trip(tmp_path: Path) -> None:
    tokenizer = tiny_vocabulary().text
    tokenizer.save(tmp_path)
    assert TextTokenizer.load(tmp_path).fingerprint == tokenizer.fingerprint
    with pytest.raises(FileNotFoundError, match="paligemma_tokenizer"):
        TextTokenizer.load(tmp_path / "absent")


@settings(max_examples=200)
@given(text=st.one_of(ANY_TEXT, st.text(st.sampled_from("Task: put the red bowl?;\n|0128"), max_size=60)))
def test_a_tokenizer_json_gives_the_same_ids(text: str) -> None:
    ours, theirs = CONVERTED
    assert theirs.encode(text, bos=True, eos=True) == ours.encode(text, bos=True, eos=True)
    assert theirs.decode(theirs.encode(text, bos=True)) == text


DATA = model_file()
CONVERTED = (TextTokenizer(SentencePieceModel(DATA)), TextTokenizer(TokenizerJson(as_tokenizer_json(DATA))))


def test_both_kinds_agree_on_everything_else() -> None:
    ours, theirs = CONVERTED
    assert theirs.vocab_size == ours.vocab_size
    assert (theirs.bos_id, theirs.eos_id) == (ours.bos_id, ours.eos_id)
    assert [theirs.piece(i) for i in range(theirs.vocab_size)] == [ours.piece(i) for i in range(ours.vocab_size)]
    assert theirs.find("|") == ours.find("|") is not None
    assert theirs.find("no such piece") is ours.find("no such piece") is None
    assert theirs.fingerprint != ours.fingerprint


def test_a_tokenizer_json_is_saved_and_read_from_folders(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/tokenizer.json").write_bytes(as_tokenizer_json(DATA))
    found = TextTokenizer.load(tmp_path / "hub").with_pieces(LOCATIONS[:3])
    found.save(tmp_path / "assets")
    again = TextTokenizer.load(tmp_path / "assets")
    assert again.fingerprint == found.fingerprint
    assert again.location_ids.tolist() == [330, 331, 332]
    tiny_vocabulary().text.save(tmp_path / "assets")  # takes the place of all files of the other kind
    assert TextTokenizer.load(tmp_path / "assets").fingerprint == tiny_vocabulary().text.fingerprint


def test_locations_are_appended_and_found_by_name() -> None:
    tokenizer = TextTokenizer.fit(SENTENCES * 4, vocab_size=350, locations=16)
    assert tokenizer.vocab_size == 350
    assert tokenizer.location_ids.tolist() == list(range(334, 350))
    assert tokenizer.piece(335) == "<loc0001>"
    assert tokenizer.decode([*tokenizer.encode("at"), 335, 336, *tokenizer.encode(" it")]) == "at<loc0001><loc0002> it"
    assert tokenizer.with_pieces([*LOCATIONS[:16], SEGMENTS[0]]).find("<seg000>") == 350
    assert tokenizer.fingerprint != tiny_vocabulary().text.fingerprint
    with pytest.raises(ValueError, match=r"Id 350 is outside 0 \.\. 349"):
        tokenizer.piece(350)


OWN_LOCATIONS = model_file(locations=LOCATIONS[:8])
TYPED = ("go to <loc0001><loc0002> now", "<bos>left<eos>", "</s><s>a", "<seg000>", "<<loc0003>>")


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize(
    "model",
    [
        SentencePieceModel(OWN_LOCATIONS),
        TokenizerJson(as_tokenizer_json(OWN_LOCATIONS)),
        TokenizerJson(as_tokenizer_json(OWN_LOCATIONS, special=True)),
    ],
    ids=["sentencepiece", "json", "json, special"],
)
def test_what_a_person_types_is_text_and_nothing_else(model: SentencePieceModel | TokenizerJson, text: str) -> None:
    tokenizer = TextTokenizer(model)
    assert len(tokenizer.location_ids) == 8
    assert tokenizer.piece(tokenizer.location_ids[1]) == "<loc0001>"
    ids = tokenizer.encode(text)
    assert not set(ids) & {*tokenizer.location_ids.tolist(), tokenizer.bos_id, tokenizer.eos_id}
    assert tokenizer.decode(ids) == text


def test_without_the_guard_the_models_do_read_names() -> None:
    # The reason for the test above.
    location = SentencePieceModel(OWN_LOCATIONS).find("<loc0001>")
    for model in (SentencePieceModel(OWN_LOCATIONS), TokenizerJson(as_tokenizer_json(OWN_LOCATIONS))):
        assert location in model.encode("go to <loc0001>")


def test_models_that_cannot_serve_are_refused() -> None:
    with pytest.raises(ValueError, match="no SentencePiece model"):
        SentencePieceModel(b"text")
    with pytest.raises(ValueError, match=r"no tokenizer\.json"):
        TokenizerJson(b"{}")
    stored = json.loads(as_tokenizer_json(DATA))
    stored["normalizer"] = {"type": "Prepend", "prepend": "▁"}
    with pytest.raises(ValueError, match="dummy prefix"):
        TextTokenizer(TokenizerJson(json.dumps(stored).encode()))
    lonely = hf.Tokenizer(models.BPE({"a": 0}, []))
    with pytest.raises(ValueError, match="BOS and EOS"):
        TextTokenizer(TokenizerJson(lonely.to_str().encode()))


def test_characters_without_ids_are_refused() -> None:
    """The library drops them, or writes one id for all of them."""
    merges = {"<bos>": 0, "<eos>": 1, "a": 2, "b": 3}
    for model in (models.BPE(merges, []), models.BPE({**merges, "<unk>": 4}, [], unk_token="<unk>")):
        tokenizer = TextTokenizer(TokenizerJson(hf.Tokenizer(model).to_str().encode()))
        assert tokenizer.encode("abba") == [2, 3, 3, 2]
        with pytest.raises(ValueError, match=r"no ids for \['c', 'é'\] in 'abcé'"):
            tokenizer.encode("abcé")


def test_location_ids_are_an_integer_array() -> None:
    assert TextTokenizer(SentencePieceModel(DATA)).location_ids.tolist() == []
    assert TextTokenizer(SentencePieceModel(OWN_LOCATIONS)).location_ids.dtype == np.int32
