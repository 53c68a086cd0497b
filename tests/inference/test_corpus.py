"""A corpus from files to files: every row in its place, whole shards or none, and the same bytes after a kill."""

import gzip
import json
import os
import random
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ner.data import blocks, shards
from ner.inference import corpus
from ner.inference.tag import MAX_CHARACTERS
from ner.inference.tagger import Tagger
from ner.options import UserError
from tests.helpers import commands, runs
from tests.helpers.folders import LEXICON, lexicon_folder
from tests.helpers.paths import ROOT

TEXTS = ["Anna Keller wohnt in Bern.", "", "und", "Genf"]
SPANS = [[(0, 11, "PER", "Anna Keller"), (21, 25, "LOC", "Bern")], [], [], [(0, 4, "LOC", "Genf")]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(lexicon_folder(tmp_path_factory.mktemp("known") / "model"))


def call(capsys, *argv):
    return commands.call(capsys, "tag", *argv)


def refused(capsys, *argv):
    return commands.refused(capsys, "tag", *argv)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def found(row):
    assert all(0 < entity["score"] <= 1 for entity in row["entities"])
    return [tuple(entity[key] for key in ("start", "end", "type", "text")) for entity in row["entities"]]


def random_texts(count, seed=0):
    generator = random.Random(seed)
    return [" ".join(generator.choices([*LEXICON, "und", "wohnt"], k=generator.randrange(12))) for _ in range(count)]


def outcome(folder):
    """All files; without the seconds, which nobody can repeat."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in [name for name in files if name == "summary.json" or name.startswith(".finished")]:
        files[name] = {**json.loads(files[name]), "seconds": 0}
    return files


def tagged_by_one(model, tmp_path, capsys, files, rows):
    """Files that one undisturbed process has tagged into `one`; the command line without its last word, the folder."""
    for number in range(files):
        (tmp_path / f"{number}.txt").write_text("\n".join(random_texts(rows, number)))
    argv = [model, "--input", str(tmp_path / "*.txt"), "--output"]
    assert call(capsys, *argv, tmp_path / "one")[0] == 0
    return argv


def limit_files(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def compressed(path, content):
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        file.write(content)


# ---- formats


def test_every_format_gives_the_same_entities(model, tmp_path, capsys):
    text = "".join(f"{line}\n" for line in TEXTS).encode()
    records = "".join(json.dumps({"id": i, "text": line}) + "\n" for i, line in enumerate(TEXTS)).encode()
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(text[:27]) + gzip.compress(text[27:]))
    compressed(tmp_path / "c.txt.zst", text)
    (tmp_path / "d.jsonl").write_bytes(records)
    (tmp_path / "e.jsonl.gz").write_bytes(gzip.compress(records))
    pq.write_table(pa.table({"id": pa.array(range(4), pa.int8()), "text": TEXTS}), tmp_path / "f.parquet")
    out = tmp_path / "out"
    status, shown, _ = call(capsys, model, "--input", tmp_path / "*.txt*", tmp_path / "[d-f]*", "--output", out)
    assert status == 0 and "6 shards" in shown
    tables = {name: lines(out / f"{name}.jsonl") for name in "abcde"}
    tables["f"] = pq.read_table(out / "f.parquet").to_pylist()
    for name, rows in tables.items():
        assert [row["text"] for row in rows] == TEXTS and [found(row) for row in rows] == SPANS, name
    assert [row["id"] for row in tables["d"]] == [row["id"] for row in tables["f"]] == [0, 1, 2, 3]
    assert list(tables["d"][0]) == ["id", "text", "entities"]
    assert pq.read_schema(out / "f.parquet").field("id").type == pa.int8()
    total = json.loads((out / "summary.json").read_text())
    assert total.pop("seconds") >= 0
    assert total == {"shards": 6, "rows": 24, "words": 6 * 8, "errors": 0, "entities": {"LOC": 12, "PER": 6}}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_each_format_becomes_the_other(model, tmp_path, capsys, form):
    (tmp_path / "a.jsonl").write_text('{"n": 1, "tokens": ["Anna", "Keller"]}\n{"n": null, "tokens": ["Bern x"]}\n')
    pq.write_table(pa.table({"n": [1, None], "tokens": [["Anna", "Keller"], ["Bern x"]]}), tmp_path / "b.parquet")
    out = tmp_path / "out"
    assert call(capsys, model, "--input", tmp_path / "*.*", "--output", out, "--format", form)[0] == 0
    for name in "ab":
        path = out / f"{name}.{form}"
        rows = lines(path) if form == "jsonl" else pq.read_table(path).to_pylist()
        assert [(row["n"], row["tokens"], found(row)) for row in rows] == [
            (1, ["Anna", "Keller"], [(0, 11, "PER", "Anna Keller")]), (None, ["Bern x"], [(0, 6, "LOC", "Bern x")])]


def test_columns_that_the_first_row_lacks(model, tmp_path, capsys):
    """Optional keys, of which a broken row has none, and null for NaN, which JSON does not have."""
    rows = ['{"id": 1', '{"text": "Anna", "x": NaN}', '{"text": "Bern", "b": [1]}',
            '{"b": null, "x": [{"y": -Infinity}]}']
    (tmp_path / "a.jsonl").write_text("".join(f"{row}\n" for row in rows[:3]))
    (tmp_path / "b.jsonl").write_text("".join(f"{row}\n" for row in rows[1:]))
    parquet = ("--output", tmp_path / "o", "--format", "parquet")
    assert call(capsys, model, "--input", tmp_path / "a.jsonl", *parquet)[0] == 0
    table = pq.read_table(tmp_path / "o" / "a.parquet")
    assert table.column_names == ["text", "x", "b", "entities", "error"]
    assert [(row["text"], row["b"], row["entities"] is None) for row in table.to_pylist()] == [
        (None, None, True), ("Anna", None, False), ("Bern", [1], False)]
    assert table["error"].to_pylist()[0].startswith("not JSON (")
    assert call(capsys, model, "--input", tmp_path / "b.jsonl", "--output", tmp_path / "p")[0] == 0
    text = (tmp_path / "p" / "b.jsonl").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert [(row.get("x"), row.get("b")) for row in lines(tmp_path / "p" / "b.jsonl")] == [
        (None, None), (None, [1]), ([{"y": None}], None)]
    pairs = pa.array([[("a", float("nan"))]], pa.map_(pa.string(), pa.float64()))
    pq.write_table(pa.table({"text": ["Bern"], "m": pairs}), tmp_path / "c.parquet")
    jsonl = ("--output", tmp_path / "q", "--format", "jsonl")
    assert call(capsys, model, "--input", tmp_path / "c.parquet", *jsonl)[0] == 0
    assert lines(tmp_path / "q" / "c.jsonl")[0]["m"] == [["a", None]]


def test_places_of_processes_that_cannot_be(model, tmp_path, capsys, monkeypatch):
    (tmp_path / "a.txt").write_text("Bern\n")
    below = "RANK: expected a number below WORLD_SIZE, "
    for rank, processes, message in (("2", "2", f"{below}2, counted from 0, found 2"),
                                     ("1", None, f"{below}1, counted from 0, found 1"),
                                     ("0", "0", f"{below}0, counted from 0, found 0"),
                                     ("-1", "2", "RANK: expected a whole number, found '-1'"),
                                     ("0", "two", "WORLD_SIZE: expected a whole number, found 'two'")):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        if processes is not None:
            monkeypatch.setenv("WORLD_SIZE", processes)
        assert refused(capsys, model, "--input", tmp_path / "a.txt", "--output", tmp_path / "o").endswith(message)
    assert not (tmp_path / "o").exists()


def test_blocks_do_not_change_what_is_found(model, tmp_path, monkeypatch):
    texts = random_texts(50)
    (tmp_path / "a.txt").write_text("".join(f"{text}\n" for text in texts))
    pq.write_table(pa.table({"text": texts}), tmp_path / "b.parquet", row_group_size=7)
    for number, rows in enumerate((4096, 8, 1)):
        monkeypatch.setattr(blocks, "ROWS", rows)
        assert corpus.tag_corpus(Tagger(model), shards.find_shards([str(tmp_path / "*.*")]), tmp_path / f"o{number}")
    for number in (1, 2):
        assert (tmp_path / f"o{number}" / "a.jsonl").read_bytes() == (tmp_path / "o0" / "a.jsonl").read_bytes()
        one, other = (pq.read_table(tmp_path / f"o{i}" / "b.parquet") for i in (0, number))
        assert one.equals(other) and one["text"].to_pylist() == texts


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst", "a.parquet"])
def test_the_share_that_is_read_grows_to_one(tmp_path, monkeypatch, name):
    """Blocks of a tenth of the rows; what decompresses reads ahead."""
    texts, path = random_texts(40_000), tmp_path / name
    content = "".join(text + "\n" for text in texts).encode()
    if name == "a.parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=4000)
    elif name == "a.txt.zst":
        compressed(path, content)
    else:
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    monkeypatch.setattr(blocks, "ROWS", 4000)
    (shard,) = shards.find_shards([str(path)])
    shares = [block.read for block in blocks.blocks(shard, None)]
    assert len(shares) == 10 and shares == sorted(shares) and shares[-1] == 1
    read_ahead = 200_000 / path.stat().st_size
    assert all(number / 10 - 0.02 <= share <= number / 10 + read_ahead for number, share in enumerate(shares, start=1))
    assert shares[0] < 0.6


def test_the_bar_says_words_a_second_and_the_time_left():
    said = []
    bar = SimpleNamespace(format_dict={"elapsed": 30.0}, update=lambda rows: None,
                          set_postfix_str=lambda text, refresh: said.append(text))
    corpus.show(bar, 0.0, 0.5, 10, 600, 0.5)
    bar.format_dict["elapsed"] = 60.0
    corpus.show(bar, 0.5, 0.5, 10, 600, 0.0)
    corpus.show(bar, 0.5, 0.5, 10, 600, 1.0)
    assert said == ["20 words/s, 01:30 left", "20 words/s, 01:00 left", "30 words/s, 00:00 left"]


def test_files_count_by_their_size_and_parts_of_one_file_alike():
    one, other = (shards.Shard(Path(name), "txt", name, size) for name, size in (("a", 300), ("b", 100)))
    assert corpus.shares_of([one, other, other], [one, other, other]) == [0.75, 0.125, 0.125]
    assert corpus.shares_of([one, other], [one, other, other, one, one]) == [2 / 3, 1 / 3]


def test_row_groups_are_divided():
    assert shards.divided([4, 4, 9, 1], 8) == [range(0, 2), range(2, 4)]
    assert shards.divided([4, 4, 9], 8) == [range(0, 2), range(2, 3)]
    assert shards.divided([1, 2], 8) == [range(0, 2)] and shards.divided([], 8) == [range(0, 0)]


# ---- rows that cannot be tagged


def test_rows_with_errors_keep_their_place(model, tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text("\n".join([
        '{"text": "Bern"}', '{"text": null, "k": 1}', "{", '{"text": 7}',
        json.dumps({"text": "B" * (MAX_CHARACTERS + 1)}),
        '{"text": ["Anna", ""]}', '{"text": "\\ud800"}', "[]", '{"text": "Genf"}']))
    (tmp_path / "b.txt").write_bytes(b"Bern\nZ\xfcrich\n")
    arguments = (model, "--input", tmp_path / "*.*", "--output")
    assert call(capsys, *arguments, tmp_path / "out")[0] == 0
    rows = lines(tmp_path / "out" / "a.jsonl")
    assert [row["entities"] is None for row in rows] == [False, *[True] * 7, False]
    assert [row.get("error", "")[:30] for row in rows] == [
        "", "no text: found null; expected ", "not JSON (Expecting property n", "no text: found 7; expected a s",
        "'BBBBBBBBBBBBBBBBBBBB'... is l", "word 2 is empty; expected only", "'\\ud800' is not UTF-8; expecte",
        "[] is not a JSON object", ""]
    assert rows[1]["k"] == 1 and rows[6]["text"] == "\ud800" and len(rows[4]["text"]) == MAX_CHARACTERS + 1
    assert lines(tmp_path / "out" / "b.jsonl")[1] == {"text": "Z\ufffdrich", "entities": None,
                                                     "error": "byte 2 of the line is not UTF-8"}
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["errors"] == 8
    assert "a.jsonl: row 2: no text: found null" in refused(capsys, *arguments, tmp_path / "strict", "--strict")
    assert not list((tmp_path / "strict").glob("*.jsonl")) and not list((tmp_path / "strict").glob(".*.tmp"))


# ---- continuing


def test_a_second_start_skips_what_is_finished(model, tmp_path, capsys):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("Anna\n")
    arguments = (model, "--input", tmp_path / "*.txt", "--output", tmp_path / "out")
    assert call(capsys, *arguments)[0] == 0
    before = outcome(tmp_path / "out")
    (tmp_path / "out" / "b.jsonl").unlink()
    kept = (tmp_path / "out" / "a.jsonl").stat().st_mtime_ns
    assert call(capsys, *arguments)[0] == 0
    assert outcome(tmp_path / "out") == before and (tmp_path / "out" / "a.jsonl").stat().st_mtime_ns == kept


def test_another_job_is_refused(model, tmp_path, capsys):
    path, out = tmp_path / "a.txt", tmp_path / "out"
    path.write_text("Anna\n")
    arguments = (model, "--input", path, "--output", out)
    assert call(capsys, *arguments)[0] == 0
    before = outcome(out)
    assert "was tagged with threshold 0, not 0.5" in refused(capsys, *arguments, "--threshold", "0.5")
    other = lexicon_folder(tmp_path / "other", lexicon={"Anna": "B-LOC"})
    assert "was tagged with weights " in refused(capsys, other, *arguments[1:])
    argmax = Tagger(model)
    argmax.trained = argmax.trained._replace(options=replace(argmax.trained.options, decode="argmax"))
    with pytest.raises(UserError, match="was tagged with decode viterbi, not argmax"):
        corpus.tag_corpus(argmax, shards.find_shards([str(path)]), out)
    for changed in ("Anna und\n", "Bern\n", "Anna"):
        path.write_text(changed)
        assert "a.txt: has changed since it was tagged" in refused(capsys, *arguments)
    path.write_text("Anna\n")
    os.utime(path, (0, 0))
    assert call(capsys, *arguments)[0] == 0, "the same file of another time, as a copy has it"
    assert outcome(out) == before


def test_a_folder_that_another_process_has_just_made(model, tmp_path, capsys):
    """Or that was killed there, before the job was written down."""
    (tmp_path / "a.txt").write_text("Anna\n")
    (tmp_path / "out" / ".finished").mkdir(parents=True)
    (tmp_path / "out" / ".tagging.json.1-0123abcd.tmp").write_text("{")
    assert call(capsys, model, "--input", tmp_path / "a.txt", "--output", tmp_path / "out")[0] == 0
    assert (tmp_path / "out" / "a.jsonl").exists()


def test_processes_share_the_shards(model, tmp_path, monkeypatch):
    monkeypatch.setattr(shards.divided, "__defaults__", (20,))
    texts = random_texts(100)
    pq.write_table(pa.table({"text": texts}), tmp_path / "big.parquet", row_group_size=10)
    parts = shards.find_shards([str(tmp_path / "big.parquet")])
    assert [part.name for part in parts] == [f"big-{i:05}-of-00005" for i in range(5)]
    assert [part.first_row for part in parts] == [0, 20, 40, 60, 80]
    tagger = Tagger(model)
    assert corpus.tag_corpus(tagger, parts, tmp_path / "one")
    assert not corpus.tag_corpus(tagger, parts, tmp_path / "two", rank=1, processes=2)
    assert sorted(path.stem[4:9] for path in (tmp_path / "two").glob("*.parquet")) == ["00001", "00003"]
    assert corpus.tag_corpus(tagger, parts, tmp_path / "two", rank=0, processes=1)
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")
    tables = [pq.read_table(path) for path in sorted((tmp_path / "one").glob("*.parquet"))]
    assert pa.concat_tables(tables)["text"].to_pylist() == texts


def test_a_file_that_has_grown_is_refused(model, tmp_path, monkeypatch):
    """Though it is divided into other parts then."""
    monkeypatch.setattr(shards.divided, "__defaults__", (20,))
    path, tagger = tmp_path / "big.parquet", Tagger(model)
    for rows in (40, 60):
        pq.write_table(pa.table({"text": random_texts(rows)}), path, row_group_size=10)
        if rows == 40:
            assert corpus.tag_corpus(tagger, shards.find_shards([str(path)]), tmp_path / "out")
            before = outcome(tmp_path / "out")
        else:
            with pytest.raises(UserError, match=r"big\.parquet: has changed since it was tagged"):
                corpus.tag_corpus(tagger, shards.find_shards([str(path)]), tmp_path / "out")
    assert outcome(tmp_path / "out") == before


def test_input_that_matches_its_own_output(model, tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"text": "Anna"}\n')
    arguments = (model, "--input", tmp_path / "**" / "*.jsonl", "--output", tmp_path / "tagged")
    for _ in range(2):
        status, shown, _ = call(capsys, *arguments)
        assert status == 0 and "1 shard, " in shown
    assert sorted(path.name for path in (tmp_path / "tagged").glob("*")) == [
        ".finished", "a.jsonl", "summary.json", "tagging.json"]
    before = outcome(tmp_path / "tagged")
    alone = (model, "--input", tmp_path / "tagged" / "*.jsonl", "--output", tmp_path / "tagged")
    assert "tagged: --input matches only files in it" in refused(capsys, *alone)
    assert outcome(tmp_path / "tagged") == before


def test_offsets_are_those_of_the_row(model, tmp_path, capsys):
    """Whatever the space between words; of a list of words, in their text joined by spaces."""
    text = "  Anna   Keller\tund\u2003Bern "
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}) + "\n" + json.dumps({"text": ["Post", "Bern"]}))
    for way in ([], ["--pretokenized"]):
        out = tmp_path / f"out{len(way)}"
        assert call(capsys, model, "--input", tmp_path / "a.jsonl", "--output", out, *way)[0] == 0
        first, second = lines(out / "a.jsonl")
        assert found(first) == [(2, 15, "PER", "Anna   Keller"), (20, 24, "LOC", "Bern")]
        assert all(text[entity["start"] : entity["end"]] == entity["text"] for entity in first["entities"])
        assert found(second) == [(0, 4, "ORG", "Post"), (5, 9, "LOC", "Bern")]


@pytest.mark.slow
def test_a_dead_process_costs_only_its_own_shards(model, tmp_path, capsys):
    argv = tagged_by_one(model, tmp_path, capsys, 4, 6000)
    out, places = tmp_path / "two", [{"RANK": str(rank), "WORLD_SIZE": "2"} for rank in range(2)]
    command = [sys.executable, "evaluate.py", "tag", *argv, str(out)]
    both = [subprocess.Popen(command, cwd=ROOT, env=os.environ | place) for place in places]
    while not list(out.glob(".1.jsonl*")) and both[1].poll() is None:
        time.sleep(0.002)  # until it writes its first shard
    both[1].kill()
    assert both[1].wait() == -9 and both[0].wait(120) == 0
    assert sorted(path.name for path in out.glob("*.jsonl")) == ["0.jsonl", "2.jsonl"]
    assert subprocess.run(command, cwd=ROOT, env=os.environ | places[1]).returncode == 0
    assert outcome(tmp_path / "one") == outcome(out)


@pytest.mark.slow
def test_two_launched_processes_write_what_one_writes(model, tmp_path, capsys):
    argv = tagged_by_one(model, tmp_path, capsys, 5, 30)
    with runs.start(["tag", *argv, str(tmp_path / "two")], 2, "evaluate.py") as process:
        log, _ = process.communicate(timeout=120)
    assert process.returncode == 0, log
    assert outcome(tmp_path / "one") == outcome(tmp_path / "two")


@pytest.mark.slow
def test_killed_at_random_moments_the_output_is_the_same(model, tmp_path, capsys, kills=5):
    argv = tagged_by_one(model, tmp_path, capsys, 6, 6000)
    generator, out, log, statuses = random.Random(0), tmp_path / "two", str(tmp_path / "log"), []
    for _ in range(kills):
        before = {path.name for path in out.rglob("*")}
        process = runs.forked(runs.evaluate_main, ["tag", *argv, str(out)], log)
        while process.is_alive() and {path.name for path in out.rglob("*")} <= before:
            time.sleep(0.002)  # until it writes
        process.join(generator.uniform(0, 0.3))
        process.kill()
        process.join()
        statuses.append(process.exitcode)
    assert statuses.count(-9) >= kills - 2, "most were killed at work"
    process = runs.forked(runs.evaluate_main, ["tag", *argv, str(out)], log)
    process.join(120)
    assert process.exitcode == 0, Path(log).read_text()
    assert outcome(tmp_path / "one") == outcome(out)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_file_size_limit_stops_in_one_sentence(model, tmp_path, capsys, form):
    """As a full disk does; the shard before stays, and a repeated command completes."""
    (tmp_path / "a.txt").write_text("Anna\n")
    (tmp_path / "b.txt").write_text("\n".join(random_texts(6000)))
    argv = [model, "--input", str(tmp_path / "*.txt"), "--format", form, "--output"]
    assert call(capsys, *argv, tmp_path / "one")[0] == 0
    out, log = tmp_path / "two", tmp_path / "log"
    process = runs.forked(runs.evaluate_main, ["tag", *argv, str(out)], str(log), limit_files, 20_000)
    process.join(120)
    assert process.exitcode == 2
    text = log.read_text()
    assert f"b.{form}: could not be written" in text and "what is finished stays" in text and "Traceback" not in text
    assert sorted(path.name for path in out.iterdir()) == [".finished", f"a.{form}", "tagging.json"]
    process = runs.forked(runs.evaluate_main, ["tag", *argv, str(out)], str(log))
    process.join(120)
    assert process.exitcode == 0 and outcome(tmp_path / "one") == outcome(out)


# ---- what is refused


def test_bad_input_is_one_sentence(model, tmp_path, capsys):
    (tmp_path / "good.txt").write_text("Anna\n")
    (tmp_path / "no.parquet").write_text("Anna\n")
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(os.urandom(99_999).hex().encode())[:-500])
    (tmp_path / "other.jsonl").write_text('{"body": "Anna"}\n')
    (tmp_path / "number.jsonl").write_text('{"text": 1}\n')
    (tmp_path / "taken.jsonl").write_text('{"text": "Anna", "entities": []}\n')
    pq.write_table(pa.table({"text": [1]}), tmp_path / "number.parquet")
    out, times = tmp_path / "out", set()
    for name, message in {
        "no.parquet": "no.parquet: not a Parquet file", "cut.txt.gz": "cut.txt.gz: Truncated compressed stream",
        "other.jsonl": "no column 'text' or 'tokens' or 'words'; expected --column to be one of 'body'",
        "number.jsonl": "column 'text' holds 1; expected strings", "number.parquet": "has the type int64; expected",
        "taken.jsonl": "'entities' is the name of a column that is added", "none.txt": "no file matches",
        "..": "no file matches",
    }.items():
        sentence = refused(capsys, model, "--input", tmp_path / "good.txt", tmp_path / name, "--output", out)
        assert message in sentence, sentence
        assert not list(out.glob(".*.tmp"))
        if out.exists():
            assert [path.name for path in out.glob("*.jsonl")] == ["good.jsonl"]
            times.add((out / "good.jsonl").stat().st_mtime_ns)
    assert len(times) == 1, "what is finished stays"
    (tmp_path / "good.jsonl").write_text('{"text": ""}\n')
    assert "would both become good" in refused(capsys, model, "--input", tmp_path / "good*", "--output", out)
    assert "holds something else" in refused(capsys, model, "--input", tmp_path / "good.txt", "--output", model)
    assert "holds the input" in refused(capsys, model, "--input", tmp_path / "good.txt", "--output", tmp_path)
    assert "--column: expected --input" in refused(capsys, model, "Anna", "--column", "x")
    assert "--input: expected --output" in refused(capsys, model, "--input", tmp_path / "good.txt")


def test_a_disk_that_is_full(model, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("Anna\n")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(blocks, "json_line", full)
    with pytest.raises(UserError, match=r"a.jsonl: could not be written .*No space left"):
        corpus.tag_corpus(Tagger(model), shards.find_shards([str(tmp_path / "a.txt")]), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".finished", "tagging.json"]
