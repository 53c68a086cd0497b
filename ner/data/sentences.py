"""A tagged sentence as it is read, whatever it is read from."""

import re
from typing import NamedTuple

LANGUAGE = re.compile(r"(?!mean_f1)\w[\w.+-]{0,63}")  # its name is part of file names and a key in results.json
NOT_IN_A_WORD = re.compile("[\t\n\0\ud800-\udfff]")


class Sentence(NamedTuple):
    """Words and IOB2 tags of one sentence, as many of each, at least one; ``line`` is that of its first word."""

    tokens: list[str]
    tags: list[str]
    line: int


class Raw(NamedTuple):
    """Sentences as read; where there is no file, their `line` is their number, from 1."""

    source: str
    unit: str  # between source and line in a message: ":" or ", row "
    sentences: list[Sentence]

    def place(self, line: int) -> str:
        return f"{self.source}{self.unit}{line}"
