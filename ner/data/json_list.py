"""The items of a JSON list in a file, one by one: a list of any length takes the memory of its longest item."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

from ner.data.lines import CHUNK, MAX_LINE_BYTES, opened
from ner.options import UserError

BEHIND_WHITE_SPACE = re.compile(r"[^ \t\n\r]|\Z")


def list_items(path: Path) -> Iterator[tuple[int, object]]:
    """(line on which it begins, value) of every item; UserError where the file is not a JSON list."""
    with opened(path) as file:
        text = Window(file)
        try:
            if text.next_character() == "\ufeff":
                text.advance(text.at + 1)
            text.mark("[")
            mark = text.mark("]") if text.next_character() == "]" else ","
            while mark == ",":
                text.next_character()
                yield text.line, text.value()
                mark = text.mark(",]")
            if found := text.next_character():
                raise ValueError(f"{found!r} after the end of the list; expected one JSON list per file")
        except ValueError as error:
            raise UserError(f"{path}:{text.line}: {error}") from None


class Window:
    """The part of a text from where it is read on; `line` is the number of its first line."""

    def __init__(self, file: io.BufferedReader):
        self.file, self.text, self.at, self.line, self.undecoded = file, "", 0, 1, b""

    def grow(self) -> bool:
        """Read on, twice as far as before; False at the end of the file."""
        raw = self.file.read(max(CHUNK, len(self.text) - self.at))
        data = self.undecoded + raw
        try:
            text, self.undecoded = data.decode(), b""
        except UnicodeDecodeError as error:
            if not raw or error.end < len(data) or "unexpected end" not in error.reason:
                self.line += self.text.count("\n", self.at) + data.count(b"\n", 0, error.start)
                raise ValueError(f"byte 0x{data[error.start]:02x} is not UTF-8; expected UTF-8 text") from None
            text, self.undecoded = data[: error.start].decode(), data[error.start :]
        if "\0" in text:
            raise ValueError("holds a NUL byte; expected UTF-8 text, not UTF-16 or a binary file")
        self.text, self.at = self.text[self.at :] + text, 0
        return bool(raw)

    def advance(self, end: int) -> None:
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def next_character(self) -> str:
        """The next one that is not white space, which is skipped; the empty string at the end."""
        while True:
            self.advance(next(BEHIND_WHITE_SPACE.finditer(self.text, self.at)).start())
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.grow():
                return ""

    def mark(self, expected: str) -> str:
        """The next character, which is one of those expected."""
        found = self.next_character()
        if not found or found not in expected:
            raise ValueError(f"not a JSON list: {found or 'its end'!r}; expected {' or '.join(expected)}")
        self.advance(self.at + 1)
        return found

    def value(self) -> object:
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self.text, self.at)
            except (ValueError, RecursionError) as error:
                problem = getattr(error, "msg", str(error))
            else:
                self.advance(end)
                return value
            if len(self.text) - self.at > MAX_LINE_BYTES:
                raise ValueError(f"an item is not JSON ({problem}) or longer than {MAX_LINE_BYTES:,} characters; "
                                 "expected a list of sentences")
            if not self.grow():
                raise ValueError(f"not JSON ({problem}); expected a list of sentences")
