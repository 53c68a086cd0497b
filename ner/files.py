"""Files and folders that are there whole or not at all; tables as TSV; checksums."""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """The file is there with all of `text` or as it was before."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to be filled. When the block ends well, it takes the place of `folder`, with all of its files on
    the disk; otherwise `folder` is as it was before."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    new, old = temporary / "new", temporary / "old"
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
    try:
        new.mkdir(parents=True)
        yield new
        for path in [*new.iterdir(), new]:
            sync(path)
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def cell(value) -> str:
    """A table cell on one line: backslash, tab and line ends are written as in C."""
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Tab-separated, UTF-8, no quotation marks.

    pandas reads it with ``read_csv(path, sep="\\t", quoting=3, keep_default_na=False)``."""
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        for row in (header, *rows):
            file.write("\t".join(map(cell, row)) + "\n")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
