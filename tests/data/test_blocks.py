"""Blocks of rows: some that cannot be read before the first that can, wide ones, and nothing lost in Parquet."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ner.data import blocks, shards
from ner.options import UserError


def read(path, column=None):
    """The column of the last block, and the values and the problems of all rows."""
    found = list(blocks.blocks(shards.shards_of(path)[0], column))
    values = [value for block in found for value in block.values]
    problems = [block.problems.get(place) for block in found for place in range(len(block.values))]
    return found[-1].column, values, [problem is not None for problem in problems]


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_rows_before_the_first_that_can_be_read(tmp_path, monkeypatch, rows):
    """However many there are of them: they do not say which columns there are."""
    monkeypatch.setattr(blocks, "ROWS", rows)
    monkeypatch.setattr(blocks, "MAX_LINE", 40)
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(["{", json.dumps({"words": "x" * 50}), "3", '{"id": 1, "words": ["Bern"]}', "["]))
    assert read(path) == ("words", [None, None, None, ["Bern"], None], [True, True, True, False, True])
    assert read(path, "words")[0] == "words"
    with pytest.raises(UserError, match="no column 'body'; expected --column to be one of 'id', 'words'"):
        read(path, "body")
    (tmp_path / "b.txt").write_text(f"{'x' * 50}\nBern\n")
    assert read(tmp_path / "b.txt") == ("text", [None, "Bern"], [True, False])
    with pytest.raises(UserError, match="no column 'body'; expected --column to be one of 'text'"):
        read(tmp_path / "b.txt", "body")


def test_without_any_row_that_can_be_read(tmp_path):
    (tmp_path / "a.jsonl").write_text("{\n{\n")
    assert read(tmp_path / "a.jsonl") == ("text", [None, None], [True, True])
    (tmp_path / "b.jsonl").write_text("")
    assert read(tmp_path / "b.jsonl") == ("text", [], [])
    (tmp_path / "c.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="no column 'text' or 'tokens' or 'words'; expected --column"):
        read(tmp_path / "c.jsonl")


def test_rows_of_a_megabyte_come_one_by_one(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["Bern"] * 100, "image": [bytes([i]) * 1_000_000 for i in range(100)]}), path,
                   compression="none", use_dictionary=False)
    found = list(blocks.blocks(shards.shards_of(path)[0], None))
    assert sum(block.rows.num_rows for block in found) == 100
    assert max(block.rows.nbytes for block in found) < 2.1e6
    assert [image[0] for block in found for image in block.rows["image"].to_pylist()] == list(range(100))


def written(tmp_path, rows):
    """Each row as a block of its own."""
    path = tmp_path / "a.parquet"
    with blocks.writer(path, "parquet") as write:
        for row in rows:
            write(blocks.Block([row], {}, "text", 1), [[]], [None])
    return pq.read_table(path).drop_columns(list(blocks.ADDED)).to_pylist()


def test_objects_with_fewer_keys_than_the_first_have_null(tmp_path):
    rows = [{"meta": {"a": 1, "b": [{"c": "x"}]}}, {"meta": {"a": 2, "b": None}}, {"meta": None}, {}]
    assert written(tmp_path, rows) == [*rows[:3], {"meta": None}]
    assert written(tmp_path, [{"meta": {"a": 1, "b": 2}}, {"meta": {"b": 3}}])[1] == {"meta": {"a": None, "b": 3}}


@pytest.mark.parametrize("first, later, message", [
    ({"m": {"a": 1}}, {"m": {"a": 1, "b": 2}}, "column 'm' has keys that come only after its first rows"),
    ({"m": [{"a": {"b": 1}}]}, {"m": [{"a": {"b": 1, "c": 2}}]}, "column 'm' has keys that come only after"),
    ({"m": 1}, {"m": 1, "n": 2}, "column 'n' comes only after the first rows"),
    ({"m": 1}, {"m": "x"}, "expected values of one type in a column, as in the first rows"),
    ({"m": 1}, {"m": 2**64 - 1}, "too large.*expected values of one type"),
    ({"m": 2**80}, {}, "expected values of one type"),
])
def test_what_would_be_lost_in_parquet_is_refused(tmp_path, first, later, message):
    with pytest.raises(UserError, match=f"{message}.*use --format jsonl"):
        written(tmp_path, [first, later])
