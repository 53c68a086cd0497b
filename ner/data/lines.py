"""The lines of a text file from elsewhere: UTF-8, numbered, of bounded length.

Only ``\\n`` ends a line, since words may hold other line separators; one ``\\r`` before it (CRLF) is dropped, and so is
a byte order mark at the start.
"""

import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ner.options import UserError

MAX_LINE_BYTES = 1 << 20


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of every line. However long a line is, no more than MAX_LINE_BYTES of it are read."""
    try:
        # before opening, since opening a pipe would wait for ever
        if not stat.S_ISREG(mode := os.stat(path).st_mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
            raise UserError(f"{path}: is {kind}; expected a file with sentences")
        with open(path, "rb") as file:
            for number, raw in enumerate(iter(partial(file.readline, MAX_LINE_BYTES + 1), b""), start=1):
                try:
                    text = decode(raw)
                except ValueError as error:
                    raise UserError(f"{path}:{number}: {error}") from None
                yield number, text.removeprefix("\ufeff") if number == 1 else text
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {reason(error)}; expected a readable file with sentences") from None


def decode(raw: bytes) -> str:
    """The text of one line without its end; ValueError unless it is UTF-8 of a bounded length."""
    if len(raw) > MAX_LINE_BYTES:
        raise ValueError(f"the line is longer than {MAX_LINE_BYTES:,} bytes; expected one word or JSON sentence a line")
    if b"\0" in raw:
        raise ValueError("holds a NUL byte; expected UTF-8 text, not UTF-16 or a binary file")
    try:
        return raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + 1} (0x{raw[error.start]:02x})"
        raise ValueError(f"{byte} of the line is not UTF-8; expected UTF-8 text") from None


def reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)


def is_blank(line: str) -> bool:
    return not line.strip(" \t")
