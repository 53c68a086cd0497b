"""A corpus of any size as shards: which files it is in, how large ones are divided, and what each becomes.

A shard is a file or, of a Parquet file with many rows, a few of its row groups. The division depends on the files
alone, so that any number of processes can share the shards, and a later start with another number completes them.
"""

import glob
import os
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ner.options import UserError, shown

FORMATS = ("txt", "jsonl", "parquet")
COMPRESSIONS = (".gz", ".zst")
ROWS = 100_000  # about as many as a part of a Parquet file holds: a minute on a GPU, half an hour on a CPU


class Shard(NamedTuple):
    """A file of rows, or some of its row groups."""

    path: Path
    format: str  # one of FORMATS
    name: str  # of the output, without its suffix
    size: int  # bytes of the whole file
    groups: tuple[int, ...] = ()  # row groups of a Parquet file
    first_row: int = 0  # number of rows of the file before these groups


def find_shards(patterns: Iterable[str], without: Path | None = None) -> list[Shard]:
    """The shards of all files that match, in the order of the patterns, then of names. without: a folder whose files do
    not count. ``UserError`` for a pattern without files, a file of another format, and two files that would become one.
    """
    paths = dict.fromkeys(Path(path) for pattern in patterns for path in matching(pattern))
    if without is not None:
        paths = {path: None for path in paths if without.resolve() not in path.resolve().parents}
        if not paths:
            raise UserError(f"{without}: --input matches only files in it; expected others than those of --output")
    found: dict[str, Shard] = {}
    for path in paths:
        for shard in shards_of(path):
            if (other := found.setdefault(shard.name, shard)) is not shard:
                raise UserError(f"{other.path} and {path} would both become {shard.name}; tag them into two folders")
    return list(found.values())


def matching(pattern: str, option: str = "--input") -> list[str]:
    """The files of a pattern, or the one of that very name; folders do not count. `option` is what named it."""
    files = [pattern] if os.path.isfile(pattern) else sorted(filter(os.path.isfile, glob.glob(pattern, recursive=True)))
    if not files:
        raise UserError(f"{option}: no file matches {shown(pattern)}")
    return files


def shards_of(path: Path) -> list[Shard]:
    """``part.jsonl.gz -> [part]``; ``big.parquet -> [big-00000-of-00003, ...]``"""
    plain = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    form, size = plain.suffix.removeprefix("."), path.stat().st_size
    if form not in FORMATS or (form == "parquet" and plain != path):
        raise UserError(f"{path}: expected a name that ends in .txt, .jsonl (or these with .gz or .zst) or .parquet")
    if form != "parquet":
        return [Shard(path, form, plain.stem, size)]
    with opened_parquet(path) as file:
        rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    parts = divided(rows)
    names = [f"{plain.stem}-{i:05}-of-{len(parts):05}" for i in range(len(parts))] if len(parts) > 1 else [plain.stem]
    return [Shard(path, form, name, size, tuple(part), sum(rows[: part.start]))
            for name, part in zip(names, parts, strict=True)]


def divided(rows: list[int], enough: int = ROWS) -> list[range]:
    """Consecutive row groups of at least `enough` rows together; too few at the end go to the last part.

    ``divided([4, 4, 9, 1], 8) -> [range(0, 2), range(2, 4)]``
    """
    bounds, held = [0], 0
    for number, count in enumerate(rows, start=1):
        held += count
        if held >= enough:
            bounds.append(number)
            held = 0
    bounds = [*(bounds[:-1] or bounds), len(rows)]
    return [range(start, end) for start, end in pairwise(bounds)]


def opened_parquet(path: Path) -> pq.ParquetFile:
    """``UserError`` for what is not a Parquet file."""
    try:
        return pq.ParquetFile(path, pre_buffer=False)  # which would hold whole row groups
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({str(error).splitlines()[0][:200]}); expected one") from None
