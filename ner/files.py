"""Files and folders written completely or not at all, or by one process only; TSV tables; checksums."""

import fcntl
import glob
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, text: str, writer: int = 0) -> None:
    """Write a file so that it has either all of `text` or its old content, never a part; `writer` as in `whole_file`.
    """
    with whole_file(path, writer) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def whole_file(path: Path, writer: int = 0) -> Iterator[Path]:
    """The name of a new file to write. If the block succeeds, it replaces `path`, synced to disk; if not, `path` stays
    as it was. writer: this process's number among those that may write the file at the same time; what a writer of
    that number has left when it was killed is removed."""
    own = f".{path.name}.{writer}-"
    for left in path.parent.glob(f"{glob.escape(own)}*.tmp"):
        left.unlink(missing_ok=True)
    # A new name, so that the same command, started twice by mistake, cannot rename a part of a file.
    temporary = path.with_name(f"{own}{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill. If the block succeeds, it replaces `folder`, with all files synced to disk; if not,
    `folder` stays as it was."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    new, old = temporary / "new", temporary / "old"
    shutil.rmtree(temporary, ignore_errors=True)  # left by a killed process
    try:
        new.mkdir(parents=True)
        yield new
        for path in [*new.rglob("*"), new]:
            sync(path)
        if folder.exists():
            os.replace(folder, old)
        os.replace(new, folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def hold(folder: Path) -> int | None:
    """A handle by which this process has a folder for itself until it closes the handle or ends; None if it is held
    already. Where the file system knows no locks, each gets one."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:
        pass
    return handle


def cell(value) -> str:
    """A table cell on one line, with backslashes, tabs and line ends escaped as in C."""
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a tab-separated table, UTF-8, without quoting.

    pandas reads it with ``read_csv(path, sep="\\t", quoting=3, keep_default_na=False)``."""
    with open(path, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        for row in (header, *rows):
            file.write("\t".join(map(cell, row)) + "\n")


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum_of_ends(path: Path, size: int = 1 << 16) -> str:
    """SHA-256 of the first and the last `size` bytes: quick for a file of any size."""
    with open(path, "rb") as file:
        first = file.read(size)
        file.seek(max(file.seek(0, os.SEEK_END) - size, 0))
        return hashlib.sha256(first + file.read(size)).hexdigest()
