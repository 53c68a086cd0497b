"""Tagged text for people to read on a terminal: entities on a coloured ground or in brackets, each with its type."""

import os
import re
from collections.abc import Callable
from typing import TextIO

from ner.inference.tag import TaggedText, entities_of

# Six of Okabe and Ito's colours (Color Universal Design, 2008) as the nearest of xterm's 256. Black letters can be read
# on each of them, and each differs from a dark and from a light terminal.
SKY_BLUE, ORANGE, GREEN, PURPLE, YELLOW, VERMILION = 74, 214, 36, 175, 227, 166
GROUNDS = (SKY_BLUE, ORANGE, GREEN, PURPLE, YELLOW, VERMILION)  # by type; with more types they repeat
BLACK = 16  # that of the 256; the eight basic ones are whatever the user's theme makes of them
CONTROL = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f]")  # a text must not move the cursor or set the title


def takes_colour(stream: TextIO) -> bool:
    """Whether it is a terminal that shows colours, and its user has not set NO_COLOR (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(tagged: TaggedText, types: tuple[str, ...]) -> str:
    """The text on a line of its own, with its entities marked; `types`: all that the model knows, in its order."""

    def mark(text: str, kind: str) -> str:
        ground = GROUNDS[types.index(kind) % len(GROUNDS)]
        return f"\x1b[38;5;{BLACK};48;5;{ground}m {text} \x1b[1m{kind} \x1b[0m"

    return marked(tagged, mark)


def bracketed(tagged: TaggedText) -> str:
    """The same without colours: ``[Anna PER] wohnt in [Bern LOC].``"""
    return marked(tagged, lambda text, kind: f"[{text} {kind}]")


def marked(tagged: TaggedText, mark: Callable[[str, str], str]) -> str:
    shown, end = "", 0
    for entity in entities_of(tagged):
        shown += printable(tagged.text[end : entity["start"]]) + mark(printable(entity["text"]), entity["type"])
        end = entity["end"]
    return f"{shown}{printable(tagged.text[end:])}\n"


def printable(text: str) -> str:
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
