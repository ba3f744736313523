"""Words of instructions that are not things: verbs by what they do, and prepositions by what they say of a place."""

from __future__ import annotations

from inspire_fast.dialogue.grounding.noun_phrase import SIDE

NEXT = (
    rf"(?:in front of|on (?:the |its )?(?:left|right)(?: side)? of|to (?:the |its )?{SIDE}(?: side)? of|(?:left|"
    rf"right) of|next to|closer to|nearer to|"
    r"close to|near to|away from|farther from|further from|towards|toward|between|above|below|beside|near|behind|by|"
    r"against|around)"
)
INTO = r"(?:on top of|inside of|inside|into|onto|on to|in to|in|on|underneath|beneath|under|over|through|at)"
FROM = r"(?:out from under|from under|from inside|from on top of|out of|off of|off from|from|off)"
WAY = (
    rf"(?:(?:all the way )?to (?:the |its |your )?{SIDE}(?: side)?|left|right|"
    r"inside|in|on top|on|down|away|closer|nearer|farther|further|further away|on its (?:side|back|head)|aside|"
    r"back|upright|up|over|out|sideways|apart|"
    r"(?:for|back|up|down|left|right)wards?|(?:counter-?|anti-?)?clockwise|"
    r"(?:back )?(?:to )?where it (?:was|belongs|came from|started)|"
    r"(?:back )?(?:to|in|into) its (?:(?:original|initial|previous|starting|own|usual) )?"
    r"(?:place|position|location|spot|orientation))"
)
PUT = (
    r"(?:place|put|set|drop|stack|stow|lay|leave|insert|plug|hang|store|load|throw|toss|return|stick|mount|slot|"
    r"deposit|"
    r"drape|rest|lower|balance|tuck|lean|prop|nest|dunk|dip|pin|position|move|bring|carry|transfer|deliver|shift|relocate|fit|attach|connect|screw|pack|dip|hook|"
    r"hold|stand)"
)
GRIP = (
    r"(?:pick up|pick out|pick|take out|take off|take away|take|remove|get|grab|grasp|pull out|lift up|lift|retrieve|"
    r"fetch|unplug|unhook|extract|collect|hold|raise|catch)"
)
TAKE = rf"(?:{GRIP}|pull|move|bring|transfer|unload|unscrew|detach|disconnect|peel)"
SHOVE = r"(?:push|pull|slide|drag|nudge|shove|roll|scoot|sweep)"
WIPE = r"(?:wipe|clean|scrub|dust|polish|rub|brush|dry|erase|stir|whisk|mix|cut|slice|chop|hit|poke|scoop|sweep|mop)"
WORK = (
    r"(?:flip over|flip|rotate|turn over|turn around|turn|spin|unfold|fold|straighten|shake|squeeze|twist|unscrew|tilt|"
    r"press down(?: on)?|press(?: on)?|push down(?: on)?|click|tap|touch|reach for|reach|knock over|tip over|stretch|"
    r"crumple|unlock|lock|unzip|zip|plug in|toggle|flick|operate|actuate|activate|point at|point to|"
    r"peel|unroll|unwrap|uncap|untie|tie|adjust|tighten|loosen|crush|bend|break|kick|ring|knock on)"
)
POUR = r"(?:pour|empty|dump|tip)(?: out)?"
APPROACH = r"(?:go|move|drive|navigate|come|head|reach|walk)(?: over| back)? (?:to|towards?|near)"
FIND = r"(?:find|locate|identify|approach|look at|look for)"
REST = (  # clauses without a target
    r"(?:let go|let (?:it|them) go|release|go(?: back)? home|go back|return home|home|move (?:back|away|up|down)|"
    r"retreat|"
    r"keep holding|stop|wait|return to (?:the |your )?(?:home|start|starting|initial|original) (?:pose|position)|"
    r"open (?:the|your) gripper|close (?:the|your) gripper)"
)
PERSON = r"(?:me|us|you|him|her|(?:the )?(?:person|user|human|robot))"
PERSONS = ("me", "us", "you", "yourself", "him", "her", "the person", "the user", "the human", "the robot", "robot")
VERB = (
    rf"(?:{PUT}|{TAKE}|{SHOVE}|{WIPE}|{WORK}|{FIND}|open|close|shut|switch|use|cover|fill|pour|empty|dump|tip|hand|"
    rf"give|"
    r"pass|unstack|release|swing|go|let|keep|return|wait|stop)"
)
