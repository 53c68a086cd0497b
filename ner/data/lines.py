"""The bytes of a text file from elsewhere, gzipped or not, as numbered lines: UTF-8, of bounded length.

Only ``\\n`` ends a line, since words may hold other line separators; one ``\\r`` before it (CRLF) is dropped, and so is
a byte order mark at the start. In a file that has ``\\r`` but no ``\\n`` (old Mac), ``\\r`` ends a line.
"""

import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ner.options import UserError

MAX_LINE_BYTES = 1 << 20
CHUNK = 1 << 16
MAX_EXPANSION = 32  # text shrinks to a tenth or a twentieth; a bomb of zeros to a thousandth
FREE_EXPANSION = 1 << 21  # bytes that any gzip file may hold, since a few repeated sentences shrink further


class Expanded(io.RawIOBase):
    """What a gzip file holds, up to a limit; an OSError beyond."""

    def __init__(self, file: io.BufferedReader, size: int):
        self.file, self.limit, self.total = gzip.GzipFile(fileobj=file), size * MAX_EXPANSION + FREE_EXPANSION, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self.file.read(len(buffer))
        self.total += len(data)
        if self.total > self.limit:
            raise gzip.BadGzipFile(f"expands to more than {self.limit:,} bytes")
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """A file's bytes, expanded where they are gzipped; UserError for whatever goes wrong, while reading too."""
    try:
        # before opening, since opening a pipe would wait for ever
        if not stat.S_ISREG(mode := os.stat(path).st_mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
            raise UserError(f"{path}: is {kind}; expected a file with sentences")
        with open(path, "rb") as file:
            if file.peek(2).startswith(b"\x1f\x8b"):
                yield io.BufferedReader(Expanded(file, os.fstat(file.fileno()).st_size))
            else:
                yield file
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: {reason(error)}; expected a readable file with sentences") from None


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number from 1, text) of every line. However long a line is, little more than MAX_LINE_BYTES of it is read."""
    with opened(path) as file:
        for number, raw in enumerate(raw_lines(file), start=1):
            try:
                text = decode(raw)
            except ValueError as error:
                raise UserError(f"{path}:{number}: {error}") from None
            yield number, text.removeprefix("\ufeff") if number == 1 else text


def raw_lines(file: io.BufferedReader) -> Iterator[bytes]:
    head = file.peek(CHUNK)
    if b"\n" in head or b"\r" not in head[:-1]:  # the last byte may be half of a CRLF
        yield from iter(partial(file.readline, MAX_LINE_BYTES + 1), b"")
        return
    rest = b""
    while len(rest) <= MAX_LINE_BYTES and (chunk := file.read(CHUNK)):
        *lines, rest = (rest + chunk).split(b"\r")
        yield from lines
    if rest:
        yield rest


def decode(raw: bytes) -> str:
    """The text of one line without its end; ValueError unless it is UTF-8 of a bounded length."""
    if len(raw) > MAX_LINE_BYTES:
        raise ValueError(f"the line is longer than {MAX_LINE_BYTES:,} bytes; "
                         "expected one word or JSON sentence per line")
    if b"\0" in raw:
        raise ValueError("holds a NUL byte; expected UTF-8 text, not UTF-16 or a binary file")
    if b"\n" in raw[:-1]:
        raise ValueError("ends in \\n after lines that end in \\r; expected one kind of line end")
    try:
        return raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + 1} (0x{raw[error.start]:02x})"
        raise ValueError(f"{byte} of the line is not UTF-8; expected UTF-8 text") from None


def reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def is_blank(line: str) -> bool:
    return not line.strip(" \t")
