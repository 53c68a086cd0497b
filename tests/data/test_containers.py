"""CSV tables, JSON lists, numbers for tags, gzipped files, old Mac lines: exact sentences, places of complaints."""

import csv
import gzip
import json
import logging
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ner.data.lines import FREE_EXPANSION, MAX_LINE_BYTES
from ner.data.readers import read_file
from ner.data.sentences import Sentence
from ner.options import Options, UserError
from tests.helpers.bombs import HUGE, many_lists, sparse
from tests.helpers.reading import complaint, read

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
PAIRS = [(["Anna", "ruft", '"'], ["B-PER", "O", "O"]), (["Bern", ","], ["B-LOC", "O"])]


def pairs(sentences: list[Sentence]) -> list[tuple[list[str], list[str]]]:
    return [(sentence.tokens, sentence.tags) for sentence in sentences]


# ---- CSV

KAGGLE = 'Sentence #,Word,POS,Tag\nSentence: 1,Anna,NNP,B-PER\n{0},ruft,VB,O\n{0},"""",\'\',O\n' \
         'Sentence: 2,Bern,NNP,B-LOC\n{1},",",",",O\n'


@pytest.mark.parametrize("name", ["train.csv", "train", "train.txt"])
@pytest.mark.parametrize("filled", [("", ""), ("Sentence: 1", "Sentence: 2")])
def test_a_table_with_the_sentence_in_its_first_row_or_in_all(tmp_path, name, filled):
    sentences = read(tmp_path, KAGGLE.format(*filled), name)
    assert pairs(sentences) == PAIRS and [sentence.line for sentence in sentences] == [2, 5]
    assert pairs(read(tmp_path, "\ufeff" + KAGGLE.format(*filled).replace("\n", "\r\n"), name)) == PAIRS


def test_tables_of_other_columns(tmp_path):
    assert pairs(read(tmp_path, "id,prev-word,word,sentence_idx,tag\n0,x,Anna,1.0,B-PER\n1,y,Bern,2.0,B-LOC\n",
                      "train.csv")) == [(["Anna"], ["B-PER"]), (["Bern"], ["B-LOC"])]
    assert pairs(read(tmp_path, "token;label\nAnna;B-PER\n;\na b;O\n\nc;O\n", "train.csv")) == [
        (["Anna"], ["B-PER"]), (["a b"], ["O"]), (["c"], ["O"])]
    assert pairs(read(tmp_path, "Word\tTag\nAnna\tB-PER\n", "train.csv")) == [(["Anna"], ["B-PER"])]


def test_columns_between_tabs_stay_columns(tmp_path):
    assert pairs(read(tmp_path, "a,b\tB-PER\nword,tag\tO\n", "train.csv")) == [(["a,b", "word,tag"], ["B-PER", "O"])]
    assert pairs(read(tmp_path, "word,label O\nx O\n")) == [(["word,label", "x"], ["O", "O"])]


def test_columns_that_options_name(tmp_path):
    options = Options(token_column="Form", tag_column="Kind")
    for name in ("train.csv", "train"):
        (tmp_path / name).write_text("Word,Form,Tag,Kind\na,Anna,NN,B-PER\n")
        assert pairs(read_file(tmp_path / name, "de", options)) == [(["Anna"], ["B-PER"])]
    assert pairs(read_file(tmp_path / "train.csv", "de", Options(tag_column="4"))) == [(["a"], ["B-PER"])]
    with pytest.raises(UserError, match="no column 'X'; expected tag_column to be a number from 1 or a name in the"):
        read_file(tmp_path / "train.csv", "de", Options(tag_column="X"))
    (tmp_path / "train.json").write_text('[{"tokens": ["a"], "Form": ["Anna"], "tags": ["NN"], "Kind": ["B-PER"]}]')
    assert pairs(read_file(tmp_path / "train.json", "de", options)) == [(["Anna"], ["B-PER"])]
    with pytest.raises(UserError, match="no key 'X' in its first record; expected tag_column to be one of 'tokens'"):
        read_file(tmp_path / "train.json", "de", Options(tag_column="X"))
    (tmp_path / "dev").write_text("1,5 CD O\nUlm NE B-LOC\n")
    assert pairs(read_file(tmp_path / "dev", "de", Options(tag_column="3"))) == [(["1,5", "Ulm"], ["O", "B-LOC"])]


COLUMNS = "expected a header with the columns Word and Tag, as in Sentence #,Word,POS,Tag"


@pytest.mark.parametrize(("content", "message"), [
    ("Anna,B-PER\n", f"1: 'Anna,B-PER' does not name a table's columns; {COLUMNS}"),
    ("Word,Tag\nAnna,B-PER\nBern\n", "3: 1 cells; expected 2 between ',', as in the header"),
    ("Word,Tag\nAnna,B-PER\n,O\n", "3: the word is empty; expected a word before its tag"),
    ("Word,Tag\nAnna,PER\n", "2: word 1, 'Anna': 'PER' is not a tag; expected O, B-TYPE or I-TYPE (IOB2)"),
    ('Word,Tag\n"a\nb",O\n', "3: '\\n' inside the word 'a\\nb'; expected a word"),
    ('Word,Tag\n"Anna,O\nBern,O\n', "3: not CSV (unexpected end of data); expected quotes in pairs"),
    ('Word,Tag\n"An"na,O\n', "2: not CSV (',' expected after '\"'); expected quotes in pairs"),
    ("tokens,ner_tags\n\"['Anna', 'ruft']\",\"[1, 0]\"\n",
     "2: a list in one cell: '[1, 0]'; expected one word per row"),
    ("Word,Tag\n", " holds no sentence; expected words and their tags"),
])
def test_complaints_about_tables(tmp_path, content, message):
    assert complaint(tmp_path, content, "train.csv") == message


# ---- JSON

RECORDS = [{"tokens": words, "tags": tags} for words, tags in PAIRS]


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("name", ["train.json", "train", "train.jsonl"])
def test_a_list_of_records(tmp_path, name, indent):
    sentences = read(tmp_path, "\ufeff\n" + json.dumps(RECORDS, indent=indent) + "\n", name)
    assert pairs(sentences) == PAIRS
    if indent == 2:
        assert [sentence.line for sentence in sentences] == [3, 15]


def test_json_lines_may_be_called_json(tmp_path):
    assert pairs(read(tmp_path, "".join(json.dumps(row) + "\n" for row in RECORDS), "train.json")) == PAIRS


@pytest.mark.parametrize("words", ["tokens", "words"])
@pytest.mark.parametrize("tags", ["tags", "ner_tags", "labels"])
def test_keys(tmp_path, words, tags):
    rows = [{"id": 1, words: one, tags: other, "pos_tags": [0] * len(one), "text": "x"} for one, other in PAIRS]
    assert pairs(read(tmp_path, json.dumps(rows))) == PAIRS
    assert pairs(read(tmp_path, json.dumps([{"tags": ["NN"] * len(one), "tokens": one, "ner_tags": other}
                                            for one, other in PAIRS]))) == PAIRS


def test_a_bracket_may_be_a_word(tmp_path):
    assert pairs(read(tmp_path, "[ O\n{ O\n[{ O\n")) == [(["[", "{", "[{"], ["O"] * 3)]
    assert pairs(read(tmp_path, '{"a": O\n["x" B-X\n')) == [(['{"a":', '["x"'], ["O", "B-X"])]
    assert pairs(read(tmp_path, "[\tX\tO\n{\tX\tO\n")) == [(["[", "{"], ["O"] * 2)]


@pytest.mark.slow
def test_a_list_longer_than_a_line_may_be(tmp_path):
    many = RECORDS * 20_000
    assert len(json.dumps(many)) > MAX_LINE_BYTES
    assert len(read(tmp_path, json.dumps(many), "train.json")) == len(many)


@pytest.mark.parametrize(("content", "message"), [
    ("[]", " holds no sentence; expected words and their tags"),
    ("[1]", "1: item 1: no object: no lists of strings under 'tokens' and 'tags', no 'text' with 'entities'; "
            'expected {"tokens": [...], "tags": [...]}, a tag for every token'),
    ('[{"tokens": ["a"], "tags": ["O"]},\n{"tokens": ["a"], "tags": []}]',
     '2: item 2: 1 tokens and 0 tags; expected {"tokens": [...], "tags": [...]}, a tag for every token'),
    ('[{"tokens": ["a"], "tags": ["O"]}\n{}]', "2: not a JSON list: '{'; expected , or ]"),
    ('[{"tokens": ["a"], "tags": ["O"]}] x', "1: 'x' after the end of the list; expected one JSON list per file"),
    ('[{"tokens": ["a"],\n"tags": ', "1: not JSON (Expecting value); expected a list of sentences"),
    ('[{"tokens": ["a"], "tags": ["O"]},\n', "2: not JSON (Expecting value); expected a list of sentences"),
    (b'[\n{"tokens": ["\xff"]}]', "2: byte 0xff is not UTF-8; expected UTF-8 text"),
    ("[" * 100_000, "1: not JSON (maximum recursion depth exceeded"),
    ('[{"tokens":\0', "1: holds a NUL byte; expected UTF-8 text, not UTF-16 or a binary file"),
])
def test_complaints_about_lists(tmp_path, content, message):
    assert complaint(tmp_path, content, "train.json").startswith(message)


def peak(path: Path) -> tuple[str, int]:
    """The complaint, and the most memory that reading took."""
    tracemalloc.start()
    with pytest.raises(UserError) as error:
        read_file(path, "de")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return str(error.value), most


@pytest.mark.slow
def test_a_list_that_would_fill_the_memory(tmp_path):
    path = tmp_path / "train.json"
    many_lists(path)
    message, most = peak(path)
    assert "item 1: no object" in message and most < 4 * MAX_LINE_BYTES
    path.write_bytes(b'[{"tokens": [' + b"[]," * (HUGE // 30) + b"[]]}]")
    message, most = peak(path)
    assert "longer than 1,048,576 characters" in message and most < 64 * MAX_LINE_BYTES


# ---- numbers for tags

NUMBERED = [{"tokens": ["Anna", "ruft"], "ner_tags": [1, 0]}, {"tokens": ["Bern"], "ner_tags": [3]}]
NAMES = ["O", "B-PER", "I-PER", "B-LOC"]


@pytest.mark.parametrize(("name", "content"), [
    ("label.json", json.dumps({name: number for number, name in enumerate(NAMES)})),
    ("labels.json", json.dumps({str(number): name for number, name in enumerate(NAMES)})),
    ("label.json", json.dumps({"id2label": {str(number): name for number, name in enumerate(NAMES)}})),
    ("label.json", json.dumps(NAMES)),
    ("labels.txt", "\n".join(NAMES)),
    ("tags.txt", "\n".join(NAMES) + "\n"),
    ("tags.txt", "".join(f"{name}\t{number}\n" for number, name in reversed(list(enumerate(NAMES))))),
    ("../label.json", json.dumps(NAMES)),
])
def test_numbers_get_their_names(tmp_path, name, content):
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / name).write_text(content)
    assert pairs(read(tmp_path / "de", json.dumps(NUMBERED), "train.json")) == [
        (["Anna", "ruft"], ["B-PER", "O"]), (["Bern"], ["B-LOC"])]


def test_numbers_without_names(tmp_path):
    assert complaint(tmp_path, json.dumps(NUMBERED)) == (
        " its tags are numbers; expected their names in label.json, labels.json, labels.txt, tags.txt in "
        f"{tmp_path} or the folder above")
    (tmp_path / "tags.txt").write_text("O\nB-PER\n")
    assert complaint(tmp_path, json.dumps(NUMBERED)) == (
        "1: item 2: 3 under 'ner_tags' has no name; expected one of the numbers 0, 1")
    assert complaint(tmp_path, json.dumps([{"tokens": ["a"], "tags": [True, 1]}])) == (
        "1: item 1: True under 'tags' has no name; expected one of the numbers 0, 1")


@pytest.mark.parametrize("content", ['{"O": 0, "B-PER": 0}', '{"O": "x"}', "[]", "{}", "3", "[1]", "{", "[" * 9999,
                                     '{"O": true}', '{"O": null}', '{"0": "O", "00": "B-PER"}'])
def test_names_that_are_not(tmp_path, content):
    (tmp_path / "label.json").write_text(content)
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "label.json")) + ":.*; expected a list of names"):
        read(tmp_path, json.dumps(NUMBERED))


def test_a_file_of_names_that_would_fill_the_memory(tmp_path):
    (tmp_path / "train").write_text(json.dumps(NUMBERED))
    sparse(tmp_path / "label.json", b'["O"', HUGE)
    message, most = peak(tmp_path / "train")
    assert "label.json:1: the line is longer" in message and most < 4 * MAX_LINE_BYTES


# ---- gzip


@pytest.mark.parametrize("name", ["train.gz", "train.json.gz", "train.jsonl.gz", "train.csv.gz", "train.json"])
def test_gzipped(tmp_path, name):
    content = KAGGLE.format("", "") if "csv" in name else json.dumps(RECORDS)
    assert pairs(read(tmp_path, gzip.compress(content.encode()), name)) == PAIRS


def test_a_name_alone_is_not_gzip(tmp_path):
    assert pairs(read(tmp_path, "a O\n", "train.gz")) == [(["a"], ["O"])]


@pytest.mark.parametrize("content", [gzip.compress(b"a O\n" * 500)[:30], gzip.compress(b"a O\n")[:-8] + b"x" * 8,
                                     b"\x1f\x8b", b"\x1f\x8bxxxxxxxxxx"])
def test_damaged_gzip(tmp_path, content):
    assert complaint(tmp_path, content, "train.gz").endswith("; expected a readable file with sentences")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train.gz", "train.json.gz"])
def test_a_gzip_bomb(tmp_path, name):
    piece = (b"a" * 1000 + b" O\n") * 1000 if name == "train.gz" else b" " * (1 << 20)
    with gzip.open(tmp_path / name, "wb", compresslevel=9) as file:
        if "json" in name:
            file.write(b"[")
        for _ in range(200):
            file.write(piece)
    message, most = peak(tmp_path / name)
    assert re.search("expands to more than [0-9,]+ bytes; expected a readable file with sentences", message)
    assert most < 4 * FREE_EXPANSION + (1 << 26)


# ---- old Mac


def test_old_mac_line_ends(tmp_path):
    content = "de:Anna\tB-PER\rde:ruft\tO\r\rde:Bern\tB-LOC\r"
    sentences = [(["Anna", "ruft"], ["B-PER", "O"]), (["Bern"], ["B-LOC"])]
    assert pairs(read(tmp_path, content)) == pairs(read(tmp_path, content[:-1])) == sentences
    many = read(tmp_path, (content + "\r") * 5_000)
    assert len(many) == 10_000 and many[-1].line == 5_000 * 5 - 1
    assert pairs(read(tmp_path, KAGGLE.format("", "").replace("\n", "\r"), "train.csv")) == PAIRS
    assert complaint(tmp_path, ("a O\r" * 70_000) + "b\nc O\r") == (
        "70001: ends in \\n after lines that end in \\r; expected one kind of line end")
    assert complaint(tmp_path, "a O\r" + "b" * 3_000_000).startswith("2: the line is longer than 1,048,576 bytes")


def test_a_carriage_return_may_be_a_word(tmp_path):
    assert pairs(read(tmp_path, "a\rb\tO\n\r\tO\n")) == [(["a\rb", "\r"], ["O", "O"])]


# ---- refused


def test_webanno_and_brat_are_refused(tmp_path):
    message = complaint(tmp_path, "#FORMAT=WebAnno TSV 3.2\n#T_SP=x|value\n\n#Text=Anna ruft\n1-1\t0-4\tAnna\tPER\n")
    assert message.startswith("1: is WebAnno TSV; expected one column with tags: export the project as CoNLL 2002")
    (tmp_path / "dev.ann").write_text("T1\tPER 0 4\tAnna\n")
    for name in ("dev.txt", "dev.ann"):
        message = complaint(tmp_path, "Anna ruft\n", name)
        assert message.startswith(" is not a file of words and tags. The .ann files are brat's")
        assert '{"text": "...", "entities": [[start, end, "TYPE"]]}' in message
    assert pairs(read(tmp_path, "Anna B-PER\n", "test.txt")) == [(["Anna"], ["B-PER"])]
    with pytest.raises(UserError, match="brat's"):
        read_file(tmp_path, "de")


# ---- whatever it is

PIECES = ["Word", "Tag", ",", ";", '"', "\n", "\r", "\r\n", "Sentence #", "[", "]", "{", "}", '"tokens"', '"tags"',
          '"text"', '"entities"', '"label"', ":", '"start"', '"end"', "0", "1", "-1", "1e9", "null", "true", "Anna",
          "O", "B-PER", "\t", " ", '["O"]', '[[0, 1, "PER"]]', '"data"', '"annotations"', '"answer"', "\ufeff", "\0"]
any_value = st.none() | st.booleans() | st.integers(-2, 12) | st.sampled_from(["O", "B-PER", "Anna ruft", ""])
KEYS = ["tokens", "words", "tags", "ner_tags", "labels", "text", "entities", "spans", "ents", "label", "start", "end",
        "type", "data", "annotations", "result", "value", "answer", "tokenized_text", "ner"]
any_json = st.recursive(any_value, lambda inner: st.lists(inner, max_size=4)
                        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4), max_leaves=12)
any_content = (st.binary() | st.lists(st.sampled_from(PIECES)).map("".join).map(str.encode)
               | st.lists(any_json).map(lambda rows: json.dumps(rows).encode())
               | st.lists(any_json).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()))


@in_one_folder
@given(any_content, st.booleans(), st.sampled_from(["train", "train.json", "train.jsonl", "train.csv", "train.conllu"]))
def test_any_content_is_read_or_refused(tmp_path, content, zipped, name):
    try:
        sentences = read(tmp_path, gzip.compress(content) if zipped else content, name)
    except UserError as error:
        assert str(error).startswith(f"{tmp_path / name}:") and "; expected " in str(error) and "\n" not in str(error)
    else:
        assert sentences and all(len(tokens) == len(tags) > 0 and all(tokens) for tokens, tags, _ in sentences)


any_word = st.text(st.characters(exclude_characters="\t\n\0\r", exclude_categories=["Cs"]), min_size=1)
any_row = st.tuples(any_word, st.sampled_from(["O", "B-PER", "B-LOC"]))
any_sentences = st.lists(st.lists(any_row, min_size=1), min_size=1)


@pytest.mark.slow
@in_one_folder
@given(any_sentences, st.booleans())
def test_tables_round_trip(tmp_path, sentences, filled):
    with open(tmp_path / "train.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Sentence #", "Word", "Tag"])
        for number, sentence in enumerate(sentences):
            for i, (word, tag) in enumerate(sentence):
                writer.writerow([number if filled or i == 0 else "", word, tag])
    logging.disable()
    found = pairs(read_file(tmp_path / "train.csv", "de"))
    logging.disable(logging.NOTSET)
    assert found == [([word for word, _ in one], [tag for _, tag in one]) for one in sentences]
