"""Wording of an instruction without what names no target: politeness, manner, amounts, the robot's own arm, negations.

What is left reads as clauses of a verb and its things. What cannot be taken out safely stays, and the grammar refuses
it.
"""

from __future__ import annotations

import re
import unicodedata

from inspire_fast.dialogue.grounding.noun_phrase import ARMS, NUMBER, UNIT
from inspire_fast.dialogue.grounding.verbs import INTO, NEXT, PUT, VERB

FILLER = re.compile(
    r"^(?:(?:please|kindly|now|first|firstly|secondly|then|next|finally|afterwards|after that|lastly|also|"
    r"(?:the )?robot(?: arm)?|ok|okay|"
    r"hey|can you|could you|would you|will you|i want you to|i need you to|i would like you to|you should|you must|"
    r"you need to|your task is to|the task is to|your goal is to|the goal is to|try to|make sure to|should|let's|and|"
    rf"go(?: and)?(?= {VERB} )|carefully|slowly|gently|quickly)(?: ,)? )+"
)
_ADVERB = re.compile(
    r"(?:^|(?<!\bthe)(?<!\ba)(?<!\ban) )(?:please|kindly|very carefully|carefully|gently|very slowly|slowly|quickly|"
    r"firmly|softly|lightly|smoothly|immediately|directly|right now|right away|for me|for us|as well|too|once|twice|"
    r"again|one more time|with care|a little bit|a bit|a little|slightly|partially|completely|fully|halfway|"
    r"right(?= (?:next|beside|in front|behind|on top|above|under|into|onto) )|\w+ times)(?= |$)(?! of )"
)
_ARM = (
    rf"(?:(?:the|your|its|his|a|one|both|either) )?(?:(?:left|right|other|robot|robot's|robotic|same|free|first|"
    rf"second) )*"
    rf"(?:end )?{ARMS}(?: {ARMS})?"
)
_END = r"(?= [,;.]| and | then | to | the | a |$)"
_BY_ARM = re.compile(
    rf" (?:(?:with|using|by using|by|in) {_ARM}|by (?:its|the) (?:handle|rim|stem|neck|strap|corner|spout)){_END}"
)
_ARM_FIRST = re.compile(rf"^(?:use|using|with|by using) {_ARM} (?:(?:to|,|and) )?(?={VERB} )")
_COUNT = rf"(?:{NUMBER}|one|two|three|four|five|six|seven|eight|nine|ten|a few|a couple of|several|half an?|a quarter)"
_TURN = r"(?:turns?|rotations?|revolutions?|notch(?:es)?|steps?)"
_DIRECTION = r"(?:left|right|up|down|(?:up|down|for|back|left|right)wards?|back|(?:counter-?|anti-?)?clockwise)"
_AMOUNT = re.compile(
    r" (?:(?:by|for|about|around|another|approximately|roughly|exactly|at least) )*"
    rf"(?:{NUMBER} ?{UNIT}|{_COUNT} (?:{UNIT}|{_TURN})|an? (?:(?:quarter|half|full) )?(?:inch|{_TURN}))"
    r"(?= [,;.]| (?:to|from|towards?|away|and|then|in|on|into|onto|above|below|over|off|along) "
    rf"| {_DIRECTION}(?: |$)|$)"
)
_NOT = r"(?:do not|don't|dont|never|without)"
_PART = r"(?:(?! and | then | or | but |[,;.] ).)+?"  # words of one clause
_IT = r"(?:it|them|that|this|these|those)"
_NEGATED = (
    # "Do not pick up the red block, pick up the blue block", unless the rest speaks of the red block
    re.compile(
        rf"(?:^|(?<=[,;.] ))(?:please )?{_NOT} {_PART} ?[,;.] (?:but |instead (?:, )?|"
        rf"rather )?(?={VERB}\b)(?!{_PART} {_IT}\b)"
    ),
    re.compile(rf"^avoid {_PART}(?: ?[,;.]| and)(?: then)? (?={VERB}\b)(?!{_PART} {_IT}\b)"),
    # "..., not the red one"; "... instead of the bag"; "... without touching the plate"
    re.compile(rf" (?:, )?(?:(?:but|and) )?not (?:the|a|an) {_PART}(?= [,;.]|$)"),
    re.compile(rf" (?:, )?(?:instead of|rather than) {_PART}(?= [,;.]|$)"),
    re.compile(rf" (?:, )?without \w+ing {_PART}(?= [,;.]|(?: ,)? (?:and |then )+{VERB}\b|$)"),
    re.compile(rf" (?:[,;.]|, but|but|, and|and|[,;.] but) (?:please )?(?:{_NOT}|avoid) {_PART} ?[.]?$"),
)
_NUMBERED = re.compile(rf"(?:^|(?<=[\s,;.]))(?:step )?(?:\(?\d+[.:)]|step \d+ [,-]?|[a-d]\)) +(?={VERB}\b)")
_PICK_AND_PLACE = re.compile(
    r"\b(?:pick up|pick|grab|grasp|take)(?: and |-and-| & )(?=(?:place|put|drop|move|lift|hold) )"
)
_PREFIX = re.compile(r"^(?:task|instruction|command|prompt|goal|language instruction) ?: *")
_FALLS = re.compile(
    r" (?:,? ?so(?: that)?|until) it (?:falls|goes|lands|ends up|is|sits|rests|slides|drops|lies|stands|fits) "
    rf"(?={INTO} |{NEXT} )"
)
# "put the marker in the cup and the eraser in the box": the second clause has lost its verb.
_PLAIN = r"(?:(?! and | between |,).)+?"
_ELLIPSIS = re.compile(
    rf"\b(?P<verb>{PUT}) (?P<rest>{_PLAIN} (?:{INTO}|{NEXT}) {_PLAIN})(?: ,)? and "
    rf"(?=(?:the|a|an|one|another|some) {_PLAIN} (?:{INTO}|{NEXT}) )"
)


def normalized(instruction: str) -> str:
    """The instruction in lower case, with single spaces and without a full stop, for comparison and parsing."""
    return " ".join(instruction.lower().replace("_", " ").split()).strip(" .!?,;")


def plain(instruction: str) -> str:
    """The instruction's clauses, see the module; a comma, a semicolon or a sentence's end is a word of its own.

    `"Please move the cup 10 cm to the left, not the plate!"` -> `"move the cup to the left"`.
    """
    lines = " . ".join(line for line in instruction.splitlines() if line.strip())
    text = "".join(" " if unicodedata.category(c) in ("So", "Cf", "Sk") and c != "°" else c for c in lines)
    text = normalized(re.sub(r"[“”„«»\"]|(?<!\w)['‘’]|['‘’](?!\w)", " ", text)).replace("’", "'")
    text = _NUMBERED.sub(" . ", _PREFIX.sub("", text)).strip(" .")
    text = " ".join(
        re.sub(
            r"(?<=[^\s.])\.(?= |$)(?<!\b\w\.)|(?<=\w\w)\.(?=[^\W\d_]{2})|(?<=\w\w)!|[,;](?=\D|$)", r" \g<0> ", text
        ).split()
    )
    text = re.sub(r"(?: [.!])+(?= |$)", " .", text)
    text = _PICK_AND_PLACE.sub("", text)
    for negated in _NEGATED:
        text = negated.sub(" ", text)
    text = _ADVERB.sub("", FILLER.sub("", " ".join(text.split())))
    text = _FALLS.sub(" ", _AMOUNT.sub("", _ARM_FIRST.sub("", _BY_ARM.sub("", text))))
    return _with_verbs(" ".join(text.split()).strip(" .,;"))


def _with_verbs(text: str) -> str:
    """Repeats an omitted verb: "put A in B and C in D" -> "put A in B and put C in D"."""
    while (longer := _ELLIPSIS.sub(r"\g<verb> \g<rest> and \g<verb> ", text, count=1)) != text:
        text = longer
    return text
