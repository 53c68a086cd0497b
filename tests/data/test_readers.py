"""Exact sentences for every format, a place for every complaint, and round trips with any Unicode."""

import json
import logging
import os
import tracemalloc

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ner.data.folders import find_file, languages
from ner.data.lines import MAX_LINE_BYTES
from ner.data.readers import read_file
from ner.data.sentences import Sentence
from ner.options import UserError
from ner.schemes import iob1_to_iob2, is_iob1
from tests.helpers.reading import complaint, read

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)


PANX = "de:Anna\tB-PER\nde:ruft\tO\n\nde:Bern\tB-LOC\nde::\tO\n"
SENTENCES = [Sentence(["Anna", "ruft"], ["B-PER", "O"], 1), Sentence(["Bern", ":"], ["B-LOC", "O"], 4)]


@pytest.mark.parametrize("name", ["train", "dev.txt", "test.tsv"])
def test_panx(tmp_path, name):
    assert read(tmp_path, PANX, name) == SENTENCES
    assert read(tmp_path, PANX + "\n\n", name) == SENTENCES
    assert read(tmp_path, "\n \n\t\n" + PANX, name) == [s._replace(line=s.line + 3) for s in SENTENCES]


def test_panx_prefix_is_removed_once_and_only_there(tmp_path):
    assert read(tmp_path, "de:de:Anna\tB-PER\n") == [Sentence(["de:Anna"], ["B-PER"], 1)]
    assert read(tmp_path, "de:Anna\tB-PER\nBern\tB-LOC\n") == [Sentence(["de:Anna", "Bern"], ["B-PER", "B-LOC"], 1)]
    assert read(tmp_path, "a:b\tO\nc:d\tO\n") == [Sentence(["a:b", "c:d"], ["O", "O"], 1)]


def test_conll_columns_between_spaces(tmp_path):
    content = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\n\u00a0 X  Y O\n\n-DOCSTART- -X- -X- O\n# X Y O\n{ X Y O\n"
    expected = [Sentence(["EU", "\u00a0"], ["B-ORG", "O"], 3), Sentence(["#", "{"], ["O", "O"], 7)]
    assert read(tmp_path, content) == expected


def test_conll_columns_between_tabs(tmp_path):
    content = "New York\tB-LOC\n \tO\n#\tO\n-DOCSTART-\tO\n{\tO\n-DOCSTART-s\tO\n"
    expected = [Sentence(["New York", " ", "#"], ["B-LOC", "O", "O"], 1), Sentence(["{", "-DOCSTART-s"], ["O", "O"], 5)]
    assert read(tmp_path, content) == expected
    assert read(tmp_path, "{\tO\n") == [Sentence(["{"], ["O"], 1)]


UNER = "# sent_id = 1\n# text = Anna #2\n1\tAnna\tB-PER\t-\tme\n2\t#\tO\n3\t2\tO\t-\t-\n\n# a\n1\tBern\tB-LOC\n"
UNER_SENTENCES = [Sentence(["Anna", "#", "2"], ["B-PER", "O", "O"], 3), Sentence(["Bern"], ["B-LOC"], 8)]


@pytest.mark.parametrize("name", ["train", "train.tsv", "train.iob2"])
def test_uner(tmp_path, name):
    assert read(tmp_path, UNER, name) == UNER_SENTENCES
    assert read(tmp_path, UNER.replace("\n", "\r\n"), name) == UNER_SENTENCES


def test_numbers_are_words_where_they_do_not_count(tmp_path):
    assert read(tmp_path, "1\tCD\tO\nMai\tNN\tO\n1997\tCD\tO\n") == [Sentence(["1", "Mai", "1997"], ["O"] * 3, 1)]
    assert read(tmp_path, "2000\t1\tO\n", "a.iob2") == [Sentence(["1"], ["O"], 1)]


@pytest.mark.parametrize("name", ["train", "train.jsonl"])
def test_json_lines(tmp_path, name):
    first = '{"tokens": ["Anna", "a b", "\\u00a0"], "tags": ["B-PER", "O", "O"], "id": 7}'
    lines = [first, "", '{"tags":["O"],"tokens":["{"]}']
    expected = [Sentence(["Anna", "a b", "\u00a0"], ["B-PER", "O", "O"], 1), Sentence(["{"], ["O"], 3)]
    assert read(tmp_path, "\n".join(lines), name) == expected
    assert read(tmp_path, "\ufeff" + "\r\n".join(lines), name) == expected


def test_only_newline_ends_a_line(tmp_path):
    words = ["a\u2028b", "\u2029", "\u0085", "\v", "\f", "\x1c", "a\rb", "\r", "\ufeff", "\u200b", "\u0007", "\u3000"]
    assert read(tmp_path, "".join(f"de:{word}\tO\n" for word in words)) == [Sentence(words, ["O"] * len(words), 1)]


def test_byte_order_mark_and_crlf(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbf" + PANX.replace("\n", "\r\n").encode()) == SENTENCES
    assert complaint(tmp_path, "de:a\tO\r\r\n") == (
        "1: 'O\\r' (U+000D control character) is not a tag; expected O, B-TYPE or I-TYPE (IOB2)")


def test_iob1_is_converted_with_a_notice(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path, PANX) == SENTENCES and not caplog.records
        sentences = read(tmp_path, "a I-PER\nb B-PER\nc I-PER\nd I-LOC\n\ne I-LOC\n")
    assert [sentence.tags for sentence in sentences] == [["B-PER", "B-PER", "I-PER", "B-LOC"], ["B-LOC"]]
    assert caplog.messages == [f"{tmp_path / 'train'}: the tags are IOB1 and were converted to IOB2"]


def test_an_open_inside_tag_in_iob2_stays(tmp_path):
    assert read(tmp_path, "a I-PER\nb O\nc B-PER\n") == [Sentence(["a", "b", "c"], ["I-PER", "O", "B-PER"], 1)]


JSON_FORM = 'expected {"tokens": [...], "tags": [...]}, a tag for every token'


@pytest.mark.parametrize(
    "content, message",
    [
        # PAN-X
        ("de:a\tO\nde:b\n", "2: 0 tabs; expected one: de:word<TAB>tag"),
        ("de:a\tO\nde:b\tO\tO\n", "2: 2 tabs; expected one: de:word<TAB>tag"),
        ("de:a\tO\n\nde:\tO\n", "3: the word is empty; expected a word before its tag"),
        ("de:a\tO\nb\tO\nde:c\tO\n", "2: 'b\\tO' does not start with 'de:'; expected it as on most lines"),
        ("\nfr:a\tO\nfr:b\tO\n", "2: all lines start with 'fr:'; expected 'de:' in this folder"),
        ("de:a\tB-PER\nde:b\tPER\n", "2: 'PER' is not a tag; expected O, B-TYPE or I-TYPE (IOB2)"),
        ("de:a\tO\nde:b\t\n", "2: '' is not a tag; expected O, B-TYPE or I-TYPE (IOB2)"),
        ("de:a\tS-PER\nde:b\tB-PER\nde:c\tO\n",
         "1: tag 'S-PER' belongs to BIOES; expected IOB2, where it is 'B-PER'"),
        ("de:a\tO\nde:b\tL-PER\n", "2: tag 'L-PER' belongs to BILOU; expected IOB2, where it is 'I-PER'"),
        # CoNLL
        ("a\n", "1: 'a' has no tab and no space; expected a word and its tag"),
        ("a X O\n\nb X\n", "3: 2 columns between spaces in 'b X'; expected 3 between spaces, as in line 1"),
        ("a\tO\nb O\n", "2: 2 columns between spaces in 'b O'; expected 2 between tabs, as in line 1"),
        ("a O\nb\tc O\n", "2: 2 columns between tabs in 'b\\tc O'; expected 2 between spaces, as in line 1"),
        ("a\tO\n\tO\n", "2: the word is empty; expected a word before its tag"),
        ("a O\nb B-\n", "2: 'B-' is not a tag; expected O, B-TYPE or I-TYPE (IOB2)"),
        # UNER
        ("1\ta\tO\n2\tb\tO\nc\tO\tO\n", "3: 'c\\tO\\tO' does not start with a number; expected "
         "number, word and tag, as on most lines"),
        ("1\ta\tO\n2\tb\tO\n3\tO\n", "3: 2 columns in '3\\tO'; expected the tag in column 3, as in line 1"),
        ("# text\n1\t\tO\n2\ta\tO\n3\tb\tO\n", "2: the word is empty; expected a word before its tag"),
        ("# text\n1\ta\tO\n2\ta\tO\n# b\n", "4: '# b' does not start with a number; expected "
         "number, word and tag, as on most lines"),
        # JSON Lines
        ('{"tokens": ["a"], "tags": ["O"]}\n{"tokens"', f"2: not JSON (Expecting ':' delimiter); {JSON_FORM}"),
        ('{"tokens": ["a"]}', "1: the keys 'tokens': no lists of strings under 'tokens' and 'tags', no 'text' with "
                              f"'entities'; {JSON_FORM}"),
        ('{"tokens": "a", "tags": "O"}', f"1: no lists of strings under 'tokens' and 'tags'; {JSON_FORM}"),
        ('{"tokens": ["a"], "tags": ["O"]}\n[]', f"2: no lists of strings under 'tokens' and 'tags'; {JSON_FORM}"),
        ('{"tokens": ["a", "b"], "tags": ["O"]}', f"1: 2 tokens and 1 tags; {JSON_FORM}"),
        ('{"tokens": [], "tags": []}', f"1: 0 tokens and 0 tags; {JSON_FORM}"),
        ('\n{"tokens": [""], "tags": ["O"]}', f"2: a word is empty; {JSON_FORM}"),
        ('{"tokens": ["a\\tb"], "tags": ["O"]}', f"1: '\\t' inside the word 'a\\tb'; {JSON_FORM}"),
        ('{"tokens": ["a\\n"], "tags": ["O"]}', f"1: '\\n' inside the word 'a\\n'; {JSON_FORM}"),
        ('{"tokens": ["\\u0000"], "tags": ["O"]}', f"1: '\\x00' inside the word '\\x00'; {JSON_FORM}"),
        ('{"tokens": ["\\ud800"], "tags": ["O"]}', f"1: '\\ud800' inside the word '\\ud800'; {JSON_FORM}"),
        ('{"tokens": ["a"], "tags": ["X"]}', "1: word 1, 'a': 'X' is not a tag; expected O, B-TYPE or I-TYPE (IOB2)"),
        # any
        (b"de:a\tO\nde:M\xfcller\tO\n", "2: byte 5 (0xfc) of the line is not UTF-8; expected UTF-8 text"),
        (b"de:a\tO\nde:a\0\tO\n", "2: holds a NUL byte; expected UTF-8 text, not UTF-16 or a binary file"),
        (PANX.encode("utf-16"), "1: holds a NUL byte; expected UTF-8 text, not UTF-16 or a binary file"),
        (PANX.encode("utf-16-le"), "1: holds a NUL byte; expected UTF-8 text, not UTF-16 or a binary file"),
        ("", " holds no sentence; expected words and their tags"),
        ("\n \t\r\n", " holds no sentence; expected words and their tags"),
        ("-DOCSTART- -X- O\n", " holds no sentence; expected words and their tags"),
    ],
)
def test_complaints(tmp_path, content, message):
    assert complaint(tmp_path, content) == message


def test_complaints_that_a_suffix_decides(tmp_path):
    expected = "1: 'a\\tO' does not start with a number; expected number, word and tag, as on most lines"
    assert complaint(tmp_path, "a\tO\n", "train.iob2") == expected
    assert complaint(tmp_path, "# text = a\n", "train.iob2") == " holds no sentence; expected words and their tags"
    assert complaint(tmp_path, "a O\n", "dev.jsonl") == f"1: not JSON (Expecting value); {JSON_FORM}"
    assert "not JSON" in complaint(tmp_path, "[" * 100_000, "dev.jsonl")
    assert "not JSON" in complaint(tmp_path, '{"tokens": ' + "9" * 5_000 + "}", "dev.jsonl")


def test_a_huge_line_is_refused_in_bounded_memory(tmp_path):
    path = tmp_path / "train"
    path.write_bytes(b"de:a\tO\nde:")
    os.truncate(path, 100_000_000)
    tracemalloc.start()
    with pytest.raises(UserError, match=f"{path}:2: the line is longer than 1,048,576 bytes; expected one word"):
        read_file(path, "de")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MAX_LINE_BYTES


def test_a_long_word_is_read(tmp_path):
    word = "ß" * 10_000
    assert read(tmp_path, f"de:{word}\tB-PER\n") == [Sentence([word], ["B-PER"], 1)]


def test_what_is_not_a_file(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, problem in [
        ("missing", "No such file or directory; expected a readable file with sentences"),
        ("loop", "Too many levels of symbolic links; expected a readable file with sentences"),
        ("folder", "is a folder; expected a file with sentences"),
        ("pipe", "is a device or a pipe; expected a file with sentences"),
    ]:
        with pytest.raises(UserError) as error:
            read_file(tmp_path / name, "de")
        assert str(error.value) == f"{tmp_path / name}: {problem}"


def test_find_file_and_languages(tmp_path):
    names = ["de/train", "de/dev.tsv", "de/test.jsonl", "fr/validation.conll", "it/notes.txt", "readme", "en/test/x"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_file(tmp_path, "de", "train") == tmp_path / "de" / "train"
    assert find_file(tmp_path, "de", "validation") == tmp_path / "de" / "dev.tsv"
    assert find_file(tmp_path, "fr", "validation") == tmp_path / "fr" / "validation.conll"
    assert find_file(tmp_path, "fr", "test") is None
    assert find_file(tmp_path, "xx", "train") is None and find_file(tmp_path, "\0", "train") is None
    assert find_file(tmp_path, "en", "test") == tmp_path / "en" / "test"  # a folder: read_file says so
    assert languages(tmp_path) == ["de", "en", "fr"]


def test_two_files_for_one_split(tmp_path):
    (tmp_path / "de").mkdir()
    (tmp_path / "de/validation.txt").touch()
    (tmp_path / "de/dev").symlink_to(tmp_path / "de/dev")
    with pytest.raises(UserError) as error:
        find_file(tmp_path, "de", "validation")
    both = f"{tmp_path / 'de/dev'} and {tmp_path / 'de/validation.txt'}"
    assert str(error.value) == f"{both} both hold the validation split of 'de'; expected one file"
    assert languages(tmp_path) == ["de"]


def test_no_languages(tmp_path):
    (tmp_path / "file").touch()
    for path, problem in [
        (tmp_path, "no language in this folder, found 'file'"),
        (tmp_path / "file", "Not a directory"),
        (tmp_path / "missing", "No such file or directory"),
    ]:
        with pytest.raises(UserError) as error:
            languages(path)
        assert str(error.value) == f"{path}: {problem}; expected a folder with <lang>/train, dev and test files"


any_word = st.text(st.characters(exclude_characters="\t\n\0", exclude_categories=["Cs"]), min_size=1)
any_tag = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
any_sentences = st.lists(st.lists(st.tuples(any_word, any_tag), min_size=1), min_size=1)


def expected_lists(sentences: list[list[tuple[str, str]]]) -> list[tuple[list[str], list[str]]]:
    columns = [([word for word, _ in sentence], [tag for _, tag in sentence]) for sentence in sentences]
    iob1 = is_iob1(tags for _, tags in columns)
    return [(words, iob1_to_iob2(tags) if iob1 else tags) for words, tags in columns]


@in_one_folder
@given(any_sentences, st.sampled_from(["\n", "\r\n"]))
@example([[("\r", "O"), ("\ufeff", "O"), ("-DOCSTART-", "O"), ("#", "O"), (" ", "O")], [("de:", "B-PER")]], "\n")
def test_panx_round_trip(tmp_path, sentences, end):
    blocks = ["".join(f"de:{word}\t{tag}{end}" for word, tag in sentence) for sentence in sentences]
    found = read(tmp_path, end.join(blocks))
    assert [(sentence.tokens, sentence.tags) for sentence in found] == expected_lists(sentences)


@in_one_folder
@given(any_sentences, st.booleans())
def test_json_round_trip(tmp_path, sentences, ascii_only):
    rows = [{"tokens": [word for word, _ in row], "tags": [tag for _, tag in row]} for row in sentences]
    found = read(tmp_path, "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows))
    assert [(sentence.tokens, sentence.tags) for sentence in found] == expected_lists(sentences)
    assert [sentence.line for sentence in found] == list(range(1, len(sentences) + 1))


pieces = ["de:", "fr:", "a", " ", "\t", "O", "B-PER", "I-PER", "\n", "\n\n", "\r\n", "# ", "1\t", "{"]
pieces += ['"tokens"', ":[", "]", "\ufeff", "\0", "\u2028", "-DOCSTART- "]
any_bytes = st.binary() | st.lists(st.sampled_from(pieces)).map("".join).map(str.encode)


@in_one_folder
@given(any_bytes, st.sampled_from(["train", "dev.iob2", "dev.jsonl"]))
def test_any_bytes_are_read_or_refused(tmp_path, content, name):
    try:
        sentences = read(tmp_path, content, name)
    except UserError as error:
        assert str(error).startswith(f"{tmp_path / name}:") and "; expected " in str(error)
    else:
        assert sentences and all(len(tokens) == len(tags) > 0 and all(tokens) for tokens, tags, _ in sentences)


@pytest.mark.slow
@pytest.mark.parametrize("lang", ["de", "fr", "it", "en"])
def test_panx_sentence_counts(shared, lang):
    folder = shared / "panx"
    assert {"de", "fr", "it", "en"} <= set(languages(folder))
    files = {split: find_file(folder, lang, split) for split in ("train", "validation", "test")}
    counts = {split: len(read_file(path, lang)) for split, path in files.items()}
    assert counts == {"train": 20_000, "validation": 10_000, "test": 10_000}
