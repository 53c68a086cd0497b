"""The rows of a shard, some thousand at a time, and the file that they become, JSON Lines or Parquet.

Memory holds a few blocks, whatever the size of a file. Rows of Parquet stay Arrow tables, so that all columns keep
their types; others are dicts.
"""

import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ner.data.shards import Shard, opened_parquet
from ner.options import UserError, shown

ROWS, BYTES = 4096, 1 << 20  # of a block, whichever is reached first
MAX_LINE = 1 << 24  # bytes
COLUMNS = ("text", "tokens", "words")  # where texts or words are, unless the user says otherwise
ENTITIES = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64()), ("type", pa.string()),
                               ("text", pa.string()), ("score", pa.float64())]))
ADDED, ADDED_TYPES = ("entities", "error"), (ENTITIES, pa.string())


class Block(NamedTuple):
    """Consecutive rows."""

    rows: list[dict[str, Any]] | pa.Table
    problems: dict[int, str]  # of rows that could not be read, by their place in the block
    column: str
    read: float  # share of the shard that is read with it

    @property
    def values(self) -> list:
        """What is in the column of texts, row by row."""
        if isinstance(self.rows, pa.Table):
            return self.rows[self.column].to_pylist()
        return [row.get(self.column) for row in self.rows]


def blocks(shard: Shard, column: str | None) -> Iterator[Block]:
    """At least one block, in order. ``UserError`` for a damaged file, and a column that is missing or of another type.
    """
    try:
        read = table_blocks if shard.format == "parquet" else line_blocks
        yield from read(shard, column)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{shard.path}: {str(error).splitlines()[0][:200]}; expected a whole, readable file") from None


def table_blocks(shard: Shard, wanted: str | None) -> Iterator[Block]:
    with opened_parquet(shard.path) as file:
        schema = file.schema_arrow
        column = column_of(shard.path, schema.names, wanted)
        if not holds_text(schema.field(column).type):
            raise UserError(f"{shard.path}: column {shown(column)} has the type {schema.field(column).type}; "
                            f"expected strings or lists of strings")
        part: list[pa.RecordBatch] = []
        rows = size = seen = 0
        groups = [file.metadata.row_group(i) for i in shard.groups]
        total = sum(group.num_rows for group in groups)
        width = sum(group.total_byte_size for group in groups) // max(total, 1)  # of a row, which may hold an image
        for batch in file.iter_batches(min(64, BYTES // max(width, 1) or 1), row_groups=list(shard.groups)):
            part.append(batch)
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows >= ROWS or size >= BYTES:
                seen += rows
                yield Block(pa.Table.from_batches(part), {}, column, seen / total)
                part, rows, size = [], 0, 0
        if part or not total:
            yield Block(pa.Table.from_batches(part, schema), {}, column, 1)


def holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def line_blocks(shard: Shard, wanted: str | None) -> Iterator[Block]:
    rows: list[dict] = []
    problems: dict[int, str] = {}
    column = column_of(shard.path, [COLUMNS[0]], wanted) if shard.format == "txt" else None
    size = number = 0
    compression = {".gz": "gzip", ".zst": "zstd"}.get(shard.path.suffix)
    with open(shard.path, "rb") as file, pa.input_stream(file, compression) as stream:
        for number, raw in enumerate(raw_lines(io.BufferedReader(stream, 1 << 16)), start=1):
            row, problem = read_line(raw, shard.format)
            if problem:
                problems[len(rows)] = problem
            elif added := [name for name in ADDED if name in row]:
                raise UserError(f"{shard.path}:{number}: {shown(added[0])} is the name of a column that is added; "
                                f"rename it")
            rows.append(row)
            size += len(raw)
            if len(rows) >= ROWS or size >= BYTES:
                column = column or first_column(shard.path, rows, problems, wanted)
                yield Block(rows, problems, column or COLUMNS[0], file.tell() / max(shard.size, 1))
                rows, problems, size = [], {}, 0
    if rows or not number:
        column = column or first_column(shard.path, rows, problems, wanted)
        yield Block(rows, problems, column or COLUMNS[0], 1)


def raw_lines(stream: io.BufferedReader) -> Iterator[bytes]:
    """Lines; of one that is longer than `MAX_LINE`, so much and a byte."""
    while line := stream.readline(MAX_LINE + 1):
        rest = line
        while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE + 1)
        yield line


def read_line(raw: bytes, form: str) -> tuple[dict, str | None]:
    """A row, and what is wrong with it."""
    if len(raw) > MAX_LINE:
        return {}, f"the line is longer than {MAX_LINE:,} bytes"
    try:
        line, problem = raw.decode(), None
    except UnicodeDecodeError as error:
        line, problem = raw.decode(errors="replace"), f"byte {error.start + 1} of the line is not UTF-8"
    line = line.removesuffix("\n").removesuffix("\r").removeprefix("\ufeff")
    if form == "txt":
        return {"text": line}, problem
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {}, f"not JSON ({getattr(error, 'msg', error)})"
    return (row, problem) if isinstance(row, dict) else ({}, f"{shown(row)} is not a JSON object")


def first_column(path: Path, rows: list[dict], problems: dict[int, str], wanted: str | None) -> str | None:
    """The column of texts, as the first block with a row that could be read shows it; None of one without."""
    rows = [row for place, row in enumerate(rows) if place not in problems]
    if not rows:
        return None
    column = column_of(path, list(dict.fromkeys(name for row in rows for name in row)), wanted)
    values = [row[column] for row in rows if row.get(column) is not None]
    if values and not any(isinstance(value, (str, list)) for value in values):
        raise UserError(f"{path}: column {shown(column)} holds {shown(values[0])}; "
                        f"expected strings or lists of strings")
    return column


def column_of(path: Path, names: list[str], wanted: str | None) -> str:
    """The column of texts among those that there are; ``UserError`` without it, or if one has a name that is added."""
    for name in ADDED:
        if name in names:
            raise UserError(f"{path}: {shown(name)} is the name of a column that is added; rename it")
    for name in [wanted] if wanted else COLUMNS:
        if name in names:
            return name
    raise UserError(f"{path}: no column {' or '.join(map(shown, [wanted] if wanted else COLUMNS))}; expected --column "
                    f"to be one of {', '.join(map(repr, names))[:200] or 'those of its records, but none is one'}")


# ---- writing

Write = Callable[[Block, list[list[dict] | None], list[str | None]], None]  # a block, its entities, its errors


@contextmanager
def writer(path: Path, form: str) -> Iterator[Write]:
    """A function that appends a block with the entities and the error of every row."""
    with (parquet_writer if form == "parquet" else jsonl_writer)(path) as write:
        yield write


@contextmanager
def jsonl_writer(path: Path) -> Iterator[Write]:
    with open(path, "wb") as file:
        def write(block: Block, entities: list[list[dict] | None], errors: list[str | None]) -> None:
            rows = block.rows.to_pylist() if isinstance(block.rows, pa.Table) else block.rows
            for row, found, error in zip(rows, entities, errors, strict=True):
                file.write(json_line({**row, "entities": found, **({"error": error} if error else {})}, path))
        yield write


def json_line(row: dict, path: Path) -> bytes:
    try:
        try:
            text = json.dumps(row, ensure_ascii=False, allow_nan=False)
        except ValueError:
            text = json.dumps(finite(row), ensure_ascii=False)
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can stand for
        return json.dumps(finite(row)).encode() + b"\n"
    except (TypeError, RecursionError) as error:
        raise UserError(f"{path}: {error}, as a column of the input would need; use --format parquet") from None


def finite(value: Any) -> Any:
    """The same JSON value with null for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table_of(rows: list[dict], schema: pa.Schema | None, path: Path) -> pa.Table:
    """The rows of a block with all columns that any of them has, or with those of the file, if it has been begun."""
    names = dict.fromkeys(name for row in rows for name in row)
    if schema is None:  # from_pylist would take the names from the first row
        return pa.Table.from_pylist([{**dict.fromkeys(names), **row} for row in rows])
    if new := names.keys() - set(schema.names):
        raise UserError(f"{path}: column {shown(min(new))} comes only after the first rows; use --format jsonl")
    fields = [field for field in schema if field.name not in ADDED]
    for name, kind in ((field.name, field.type) for field in fields if pa.types.is_nested(field.type)):
        if has_new_keys(pa.array([row.get(name) for row in rows]).type, kind):  # which Arrow would leave out
            raise UserError(f"{path}: column {shown(name)} has keys that come only after its first rows; "
                            f"use --format jsonl")
    return pa.Table.from_pylist(rows, pa.schema(fields))


def has_new_keys(kind: pa.DataType, known: pa.DataType) -> bool:
    """Whether objects of the one type have keys, at any depth, that those of the other lack."""
    if pa.types.is_struct(kind) and pa.types.is_struct(known):
        names = {field.name for field in known.fields}
        return any(field.name not in names or has_new_keys(field.type, known.field(field.name).type)
                   for field in kind.fields)
    return pa.types.is_list(kind) and pa.types.is_list(known) and has_new_keys(kind.value_type, known.value_type)


@contextmanager
def parquet_writer(path: Path) -> Iterator[Write]:
    file: pq.ParquetWriter | None = None

    def write(block: Block, entities: list[list[dict] | None], errors: list[str | None]) -> None:
        nonlocal file
        try:
            table = block.rows if isinstance(block.rows, pa.Table) else table_of(block.rows, file and file.schema, path)
            for name, values, kind in zip(ADDED, (entities, errors), ADDED_TYPES, strict=True):
                column = pa.array(values, kind)  # to a table without columns, none can be appended
                table = table.append_column(name, column) if table.num_columns else pa.table({name: column})
            file = file or pq.ParquetWriter(path, table.schema)
            file.write_table(table)
        except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
            raise UserError(f"{path}: {str(error).splitlines()[0][:200]}; expected values of one type in a column, "
                            f"as in the first rows; use --format jsonl") from None
    try:
        yield write
    finally:
        if file is not None:
            file.close()
