"""Noun phrases: what a question may be asked about. Text that is not certainly one is no target.

Each word gets a letter for its kind, and a phrase is read if its letters match `_PHRASE` as a whole::

    the yellow and white mug next to the 3.5 mm jack
    d   a      & a     n   l       d   v      n

A word of no closed class is taken for a noun. Verbs, pronouns, negations, conjunctions, adverbs and prepositions of
movement ("into", "off") have the letter `x`, which occurs nowhere in a phrase. Adverbs in "-ly" and abstract nouns
have the letter `h`, because only a noun behind them makes a thing: "the power button", not "the power".
"""

from __future__ import annotations

import functools
import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SIDE = r"(?:left|right|front|back|rear|top|bottom|middle|center|centre)"
NUMBER = r"(?:\d+(?:\.\d+)?)"
UNIT = (
    r"(?:cm|mm|m|km|centimet(?:er|re)s?|millimet(?:er|re)s?|met(?:er|re)s?|inch(?:es)?|feet|foot|ft|degrees?|deg|°|"
    r"radians?|rad|seconds?|secs?|s|minutes?|min|percent|%|kg|g|grams?|lbs?|oz|ounces?|lit(?:er|re)s?|l|ml|v|volts?)"
)
ARMS = (
    r"(?:arms?|hands?|grippers?|effectors?|manipulators?|fingers?|fingertips?|thumbs?|fists?|palms?|elbows?|wrists?|"
    r"claws?|jaws?|pincers?)"
)
DETERMINERS = _words("the a an another one some this that my your his her our")
# Prepositions that locate a thing as part of its name; several words become one before the words get their letters.
_LINKS = _words(
    "in on at under underneath beneath below above inside near behind beside by with containing holding than atop"
)
_COMPOUNDS: tuple[tuple[str, str], ...] = (  # what is joined by "_" into one word, and the letter of that word
    ("n", r"dustpan and brush|brush and dustpan|salt and pepper|mortar and pestle|pestle and mortar|pot or pan"),
    ("v", rf"{NUMBER} ?{UNIT}"),
    ("l", rf"to (?:the|its|your) {SIDE}(?: side)? of|in front of|on top of|inside of|next to"),
    ("l", r"(?:close|closer|closest|near|nearer|nearest|adjacent) to"),
    ("l", r"(?:far|farther|farthest|further|furthest|away) from"),
    ("x", r"face (?:down|up)|right side up|upside down|handle first|half way"),
    ("l", r"from(?= (?:the )?table cent)"),  # "the black bowl from table center" says which bowl
    ("x", r"(?:an? )?(?:half|quarter|third|couple|dozen|lot|bit|little|plenty|most|rest|part) of"),
    ("e", rf"from (?:the )?{SIDE}(?! of)"),  # "the second drawer from the top"
    ("r", r"(?:that|which) (?:is|are|was|were|sits?|lies?|stands?|rests?|hangs?|has|holds?|contains?)"),
)
_COMPOUND = re.compile("|".join(rf"\b(?P<{letter}{i}>{p})(?![\w-])" for i, (letter, p) in enumerate(_COMPOUNDS)))
_ADJECTIVES = _words(
    "red green blue yellow purple pink white black brown grey gray golden beige cyan magenta turquoise dark big "
    "small large tiny tall short long round flat striped spotted shiny wooden ceramic transparent soft clean dirty "
    "empty full upper old new smaller bigger larger taller darker lighter dry wet warm cold hot cool heavy narrow wide "
    "thick thin tight loose steady silent parallel perpendicular diagonal"
)
_ADJECTIVES_AND_NOUNS = _words("orange gold silver light square metal plastic glass paper cream rubber")
_SIDES = _words("left right front back rear leftmost rightmost")  # "top" and "middle" are also nouns
# Before a noun only: "the open drawer", "the push button", "the closest cup".
_BEFORE_NOUNS = _words(
    "open closed vertical horizontal push pull touch closest nearest nearby opposite farthest furthest next other same "
    "final half "
    # abstract nouns, which can only describe one
    "air angle attention bite boil break breath care charge circles contact control direction emphasis evening fun "
    "grip heat height home length life midnight minute moment morning music noise noon order orientation party "
    "position power practice pressure price ready reverse rid sight silence sip size sleep sound speed started still "
    "straight temperature time today tomorrow tonight turns volume well width "
)
_ORDINALS = _words(
    "first second third fourth fifth sixth seventh eighth ninth tenth last 1st 2nd 3rd 4th 5th 6th 7th 8th 9th 10th"
)
_ABSTRACT_WITHOUT_ARTICLE = _words("line place reach hold step shape balance half view range fire")
_LY_NOUNS = _words(
    "family jelly belly lily fly butterfly dragonfly firefly assembly supply doily gully bully dolly holly ply italy"
)
_VERBS = _words(
    "pick grab grasp take put place bring get give go let keep remove retrieve fetch insert unplug unload unstack "
    "unscrew unfold unhook unlock rotate release carry throw toss leave lift raise lower push pull turn move shut "
    "close open make do avoid touch reach pour flip deposit drop hang attach connect transfer deliver toggle wait "
    "try use start stop begin continue hold rearrange straighten squeeze stretch see find look extract slide drag "
    "shove nudge roll done stack"
)
_BEHIND_ARTICLES = {"lower": "h", **dict.fromkeys(("roll", "stack", "slide", "drop"), "n")}
_OTHERS = _words(
    "upside closer nearer farther further for per via past beyond among amongst amid alongside about except despite "
    "during since till until unlike like versus plus minus over around against into onto to from off out up down "
    "through along across toward towards away without within upon and/or or but nor so because if when while unless "
    "before after as not no never instead rather otherwise then than. is are was were be been being am do does don't "
    "dont did didn't isn't will would should could must may might shall who whom whose which where what how why it "
    "them they he she i you we us me him itself yourself these those all every each everything anything something "
    "nothing everyone none both either neither any several many few multiple more most enough much two three four "
    "five six seven eight nine ten eleven twelve dozen its their things stuff remaining others rest now again please "
    "here there together too also once twice only forward forwards backward backwards upward upwards somewhere "
    "anywhere elsewhere everywhere nowhere wherever whenever outside outdoors indoors upstairs downstairs just "
    "downward downwards leftward leftwards rightward rightwards clockwise counterclockwise anticlockwise counter- "
    "anti- sideways upright apart aside halfway very degrees ° "
    # typing errors without a space
    "inthe onthe tothe ofthe atthe andthe fromthe withthe intothe ontothe init onit toit andit upthe putthe"
)
_WITHIN = tuple("dachksn#v")  # letters inside of a noun phrase
_LETTERS = {
    **dict.fromkeys(_OTHERS | _VERBS, "x"),
    **dict.fromkeys(_LINKS, "l"),
    **dict.fromkeys(DETERMINERS, "d"),
    **dict.fromkeys(_ADJECTIVES, "a"),
    **dict.fromkeys(_ADJECTIVES_AND_NOUNS, "c"),
    **dict.fromkeys(_SIDES, "s"),
    **dict.fromkeys(_BEFORE_NOUNS, "h"),
    **dict.fromkeys(_ORDINALS, "k"),
    ",": ",",
    "and": "&",
    "of": "o",
    "between": "b",
    "both": "B",
}
_CORE = (
    r"(?:n|a,?&?(?=[ancshku])|c(?:&(?=a|c[ncs]))?|s(?=[ancshkou])|[hkv](?=[ancshku])|g(?=[nco])|u(?![ancshku])|"
    r"(?<=[nc])#(?![ancshk]))"
)
_OBJECT = rf"(?:d?{_CORE}+|ds)"
_MODIFIER = rf"(?:(?:rl?|l|o){_OBJECT}|b{_OBJECT}(?:[lo]{_OBJECT})*&{_OBJECT})"
_PHRASE = rf"d?{_CORE}+{_MODIFIER}*"
_COUNTED_FROM = rf"d?{_CORE}*k{_CORE}+e"
_ONE = re.compile(f"{_COUNTED_FROM}|{_PHRASE}")
_LIST = re.compile(
    rf"B{_PHRASE},?&{_PHRASE}|{_PHRASE}(?:(?:,&?|&)(?=d){_PHRASE})+|{_PHRASE}(?:,{_PHRASE})+,?&{_PHRASE}"
)
_ARMS = re.compile(ARMS)
_AMOUNT = re.compile(r"\d+/\d+|\d+\.\d+")  # "the 1/2 cup measure" is a thing, "the drawer 1/2" is none
_TIMES = re.compile(r"\d+x|x\d+")
_SOME = re.compile(r"some (?:.* )?[\w-]*[a-z](?<![sui])s")  # "some apples", not "some molasses" or "some hummus"
_TOOL = (
    r"(?:spatula|key|opener|brush|knife|fork|spoon|tongs|cloth|sponge|hammer|stick|tool|rag|towel|scissors|screwdriver|"
    r"wrench|mop|broom|ladle|whisk|pliers|tweezers|pen|pencil|marker|eraser|scoop|shovel|chopsticks|peeler|cutter|rake|"
    r"squeegee|vacuum|drill|saw|tissue|napkin|wipe|duster|mitts?|mittens?|gloves?|magnet|net|mallet|chisel|paddle|spade|"
    r"trowel|pipette|syringe|needle|stylus|plunger|roller)"
)
_BY_TOOL = re.compile(rf" with (?:(?:the|a|an|another|this|that|your|my|some) )?(?:[\w-]+ ){{0,3}}{_TOOL}\b")
_OWN_CLAUSE = re.compile(r" (?:with|that|which) ")
# "coca-cola", "m&m", "u.s.", "3/4-inch"; no sentence's end, and no "cup/glass", which is one or the other
_WORD = re.compile(r"[^\W_](?:(?:[\w'’&+.-]|(?<=\d)/(?=\d))*[^\W_])?|(?:[^\W\d_]\.)+")
_SEVERAL = re.compile(
    r"\b\w+,? and \w+(?: (?!(?:in|on|at|of|to|next|near|with|that|which)\b)\w+)*? \w*[^s\W]s\b"
)  # "the red and blue blocks"


def is_noun_phrase(text: str) -> bool:
    """Whether a text surely names one thing.

    `"the mug next to the jar"` and `"the 3.5 mm jack"` do; `"in the basket"`, `"the cup 10 cm"`, `"close the drawer"`,
    `"the left arm"`, `"it"`, `"two cups"` and `"the left"` do not.
    """
    name, _, note = text.partition(" (")  # "the can (the red one)"
    if note:
        return is_noun_phrase(name) and note.endswith(")") and is_noun_phrase(note[:-1])
    if _BY_TOOL.search(text) or ("between" not in text and _SEVERAL.search(text)) or _SOME.fullmatch(text):
        return False
    found = letters(text)
    # "block 3" is a name; the number of "move the cup 10 to the left" may be an amount
    return _ONE.fullmatch(found) is not None and not (found[:1] == "d" and found[-1:] == "#")


def is_tool(text: str) -> bool:
    """Whether a text names a thing to work with: "open the jar with the opener" is no jar that has an opener."""
    return _BY_TOOL.fullmatch(f" with {text}") is not None and is_noun_phrase(text)


def is_bare(text: str) -> bool:
    """Whether a phrase is not located by another thing: "the cup on the left" and "the lid of the pot" are bare."""
    return re.search("[lb](?!ds)", letters(text).partition("r")[0]) is None


@functools.lru_cache(maxsize=1 << 12)
def members(text: str) -> tuple[str, ...]:
    """The noun phrases of a phrase or list, in its words; empty if there is another word in it.

    `"both A and B"`, `"the A, the B and the C"` and `"the A, B and C"` have members; "the yellow and white mug" is one
    thing, and so is "the bowl between the plate and the jar".
    """
    if is_noun_phrase(text):
        return (text,)
    if not _LIST.fullmatch(letters(text)):
        return ()
    found = _splits(text.removeprefix("both "))
    clear = len(found) == 1 and not any(_OWN_CLAUSE.search(name) for name in found[0][:-1])
    return found[0] if clear else ()  # unclear: "the pot with the lid and the spoon"


def _splits(text: str) -> list[tuple[str, ...]]:
    """All ways to cut a text at its commas and "and"s into noun phrases."""
    found = [(text,)] if is_noun_phrase(text) else []
    for cut in re.finditer(r",? and |, ", text):
        if is_noun_phrase(text[: cut.start()]):
            found += [(text[: cut.start()], *rest) for rest in _splits(text[cut.end() :])]
    return found


def letters(text: str) -> str:
    """The letters of a text's words and commas, see the module."""
    found = ""
    joined = _COMPOUND.sub(lambda match: f"{match.lastgroup}\0", text)
    for word in re.findall(r"[^\s,]+|,", joined):
        found += _letter(word, found[-1:])
    return found


@functools.lru_cache(maxsize=1 << 14)
def _letter(word: str, before: str) -> str:
    """The letter of a word behind the letter `before`."""
    if word.endswith("\0"):
        return word[0]
    if before == "d" and word in _BEHIND_ARTICLES:
        return _BEHIND_ARTICLES[word]
    if word == "one":
        return "u" if before in _WITHIN else "d"
    if (word in _ABSTRACT_WITHOUT_ARTICLE and before not in _WITHIN) or (word.endswith("ly") and word not in _LY_NOUNS):
        return _LETTERS.get(word, "h")
    if _AMOUNT.fullmatch(word):
        return "v"
    if _TIMES.fullmatch(word):
        return "x"
    if word[0].isdigit() and re.fullmatch(NUMBER, word):
        return "#"
    if _ARMS.fullmatch(word):
        return "g"
    return _LETTERS.get(word) or ("n" if _WORD.fullmatch(word) else "x")
