"""Made-up sentences in the shapes of public corpora: the right words, the right tags, or a sentence that says why not.

Each shape is read next to its control: what must go on being read as before.
"""

import logging
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ner.data import corpora
from ner.data.readers import read_file
from ner.data.sentences import Sentence
from ner.options import Options, UserError
from ner.tags import UNANNOTATED, TagSet
from tests.helpers.columns import SENTENCES, SHAPES
from tests.helpers.paths import ROOT


def read(folder: Path, text: str, name: str = "train", **options) -> list[tuple[list[str], list[str]]]:
    (folder / name).write_text(text, encoding="utf-8")
    return [pair[:2] for pair in read_file(folder / name, "de", Options(**options))]


def complaint(folder: Path, text: str, **options) -> str:
    """What follows the file's path in the message."""
    with pytest.raises(UserError) as error:
        read(folder, text, **options)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(str(folder / "train") + ":").strip()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(tmp_path, caplog, shape):
    """Exactly the made-up sentences, with exactly the shape's notice, between CRLF too."""
    text, options, notice = SHAPES[shape]
    for written in (text, text.replace("\n", "\r\n"), "\ufeff" + text):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert read(tmp_path, written, **options) == SENTENCES
        assert caplog.messages == ([f"{tmp_path / 'train'}: {notice}"] if notice else [])


def test_numbers_that_do_not_count_are_words(tmp_path):
    text = "1997 CD O\nUlm NE B-LOC\n\n2 CD O\n3 CD O\n"
    assert read(tmp_path, text) == [(["1997", "Ulm"], ["O", "B-LOC"]), (["2", "3"], ["O", "O"])]
    assert read(tmp_path, text.replace(" ", "\t")) == [(["1997", "Ulm"], ["O", "B-LOC"]), (["2", "3"], ["O", "O"])]
    assert read(tmp_path, "1\tO\n2\tO\n") == [(["1", "2"], ["O", "O"])]  # there is no other column
    assert read(tmp_path, "A X O\nA X O\nA X O\n") == [(["A", "A", "A"], ["O"] * 3)]


def test_several_words_written_as_one_are_not_words_of_their_own(tmp_path):
    text = "1\tAda\tB-PER\n2-3\tzum\t_\n2\tzu\tO\n3\tdem\tO\n3.1\tweg\t_\n"
    assert read(tmp_path, text) == [(["Ada", "zu", "dem"], ["B-PER", "O", "O"])]


def test_the_lines_of_words_are_known_after_comments(tmp_path):
    (tmp_path / "train").write_text("# a = 1\n0\tAda\tB-PER\n\n# b = 2\n# c = 3\n0\tBern\tB-LOC\n", encoding="utf-8")
    assert read_file(tmp_path / "train", "de") == [Sentence(["Ada"], ["B-PER"], 2), Sentence(["Bern"], ["B-LOC"], 6)]
    text = "# id 1 domain=x\nUlm _ _ B-LOC\n# id: 2\nab _ _ O\nzu _ _ B-\n"
    assert complaint(tmp_path, text).startswith("5: 'B-' is not a tag")


def test_what_starts_with_a_hash_is_a_word_where_it_has_a_tag(tmp_path):
    text = "#\tO\n#Bern\tB-LOC\n##\tB-ORG\n# x\tO\n"
    assert read(tmp_path, text) == [(["#", "#Bern", "##", "# x"], ["O", "B-LOC", "B-ORG", "O"])]
    assert read(tmp_path, "# PER\na O\nb O\n") == [(["#", "a", "b"], ["B-PER", "O", "O"])]
    assert complaint(tmp_path, "a X O\n# X\n").startswith(
        "2: 2 columns between spaces in '# X'; expected 3 between spaces, as in line 1, or a comment as '# key")


def test_chunks_are_not_a_layer_of_entities(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        text = "Ada NE B-NP B-PER\nrief VB B-VP O\nin IN B-PP O\nUlm NE B-NP B-LOC\n. . O O\n"
        assert read(tmp_path, text) == [(["Ada", "rief", "in", "Ulm", "."], ["B-PER", "O", "O", "B-LOC", "O"])]
        assert read(tmp_path, "Es PR B-NP O\nruft VB B-VP O\n") == [(["Es", "ruft"], ["O", "O"])]
        assert read(tmp_path, "Es PR O O\nruft VB O B-PER\n") == [(["Es", "ruft"], ["O", "B-PER"])]
    assert not caplog.records


def test_the_inner_layer_by_its_number(tmp_path):
    text = "Uni B-ORG O\nUlm I-ORG B-LOC\nruft O O\n"
    assert read(tmp_path, text) == [(["Uni", "Ulm", "ruft"], ["B-ORG", "I-ORG", "O"])]
    assert read(tmp_path, text, tag_column="3") == [(["Uni", "Ulm", "ruft"], ["O", "B-LOC", "O"])]
    assert read(tmp_path, text, tag_column="2", token_column="1") == [(["Uni", "Ulm", "ruft"], ["B-ORG", "I-ORG", "O"])]


def test_columns_by_their_name(tmp_path):
    text = "mot lemme fin gros\nUlm ulm B-city B-LOC\nruft rufen O O\n"
    assert read(tmp_path, text, tag_column="gros") == [(["Ulm", "ruft"], ["B-LOC", "O"])]
    assert read(tmp_path, text, tag_column="fin") == [(["Ulm", "ruft"], ["B-city", "O"])]
    assert read(tmp_path, text, tag_column="fin", token_column="lemme") == [(["ulm", "rufen"], ["B-city", "O"])]
    assert complaint(tmp_path, text, tag_column="grob") == (
        "no column 'grob'; expected tag_column to be a number from 1 or a name in the header (it has no header line)")
    known = "TOKEN NE-COARSE-LIT POS\nUlm B-LOC NE\n"
    assert complaint(tmp_path, known, tag_column="NE-COARSE").endswith(
        "(there are 'TOKEN', 'NE-COARSE-LIT', 'POS'); did you mean 'NE-COARSE-LIT'?")
    assert complaint(tmp_path, known, tag_column="4") == (
        "no column 4; expected tag_column from 1 to 3, as many as the file has")
    assert complaint(tmp_path, known, tag_column="1") == (
        "column 1 for words and for tags; expected two columns: set --token_column and --tag_column")
    assert complaint(tmp_path, "de:Ulm\tB-LOC\n", tag_column="2") == (
        "all lines are de:word<TAB>tag; expected no token_column and no tag_column")


def test_a_header_must_name_every_column(tmp_path):
    message = "the header names 2 columns, and the first row has 3; expected as many"
    assert complaint(tmp_path, "TOKEN\tTAG\nUlm\tNE\tB-LOC\n") == message
    assert complaint(tmp_path, "# global.columns = FORM NE\nUlm\tNE\tB-LOC\n") == message


def test_numbers_of_sentences_on_their_first_word_alone(tmp_path, caplog):
    text = "\u0023\tWord\tTag\nSentence: 1\tAda\tB-PER\n\tLi\tI-PER\nSentence: 2\tBern\tB-LOC\n\truft\tO\n"
    assert read(tmp_path, text) == [(["Ada", "Li"], ["B-PER", "I-PER"]), (["Bern", "ruft"], ["B-LOC", "O"])]
    assert "tells 2 sentences apart" in caplog.text


def test_plain_types_in_two_columns(tmp_path, caplog):
    assert read(tmp_path, "Ada NE PER actor\nruft VV O O\nan RP O O\n")[0][1] == ["B-PER", "O", "O"]
    assert "columns 3, 4 hold layers of tags; took the first" in caplog.text


def test_columns_of_a_table_by_name_or_number(tmp_path):
    text = "mot,fin,gros\nUlm,B-city,B-LOC\nruft,O,O\n"
    for columns in ({"token_column": "mot", "tag_column": "gros"}, {"token_column": "1", "tag_column": "3"}):
        assert read(tmp_path, text, "train.csv", **columns) == [(["Ulm", "ruft"], ["B-LOC", "O"])]
    text = "Word;Tag;fin\nUlm;S_LOC;S_city\nruft;O;O\n"
    assert read(tmp_path, text, tag_column="fin", tag_scheme="B_TYPE") == [(["Ulm", "ruft"], ["B-city", "O"])]
    with pytest.raises(UserError, match="no column 'grob'; expected tag_column to be a number from 1 or"):
        read(tmp_path, text, "train.csv", tag_column="grob")


def test_tags_before_their_words(tmp_path):
    assert read(tmp_path, "B-LOC\tUlm\nO\truft\n") == [(["Ulm", "ruft"], ["B-LOC", "O"])]
    text = "B-LOC Ulm NE\nO ruft VB\n"
    assert complaint(tmp_path, text) == (
        "the tags are in column 1, and 2 columns follow; expected --token_column to say which of them holds the words")
    assert read(tmp_path, text, token_column="2") == [(["Ulm", "ruft"], ["B-LOC", "O"])]


@pytest.mark.parametrize(("text", "message"), [
    ("mot tag\nUlm B-LOC\nruft O\n", "1: 'tag' is not a tag; expected O, B-TYPE or I-TYPE (IOB2); if this is a header "
     "line, name a column of it with --tag_column"),
    ("Ulm\u00a0B-LOC\n", "1: 'Ulm\\xa0B-LOC' (U+00A0 NO-BREAK SPACE) has no tab and no space; expected a word and its "
     "tag"),
    ("a O\nb B-PER\u200b\n", "2: 'B-PER\\u200b' (U+200B ZERO WIDTH SPACE) is not a tag; expected O, B-TYPE or I-TYPE "
     "(IOB2)"),
    ("a O\n\ufeff\nb O\n", "2: '\\ufeff' (U+FEFF ZERO WIDTH NO-BREAK SPACE) has no tab and no space; expected a word "
     "and its tag"),
    ("Ulm,B-LOC\n", "1: 'Ulm,B-LOC' has no tab and no space; expected a word and its tag, or *.csv as the file's name"),
    ("Ulm NE\nruft VV\n", "1: 'NE' is not a tag; expected O, B-TYPE or I-TYPE (IOB2); --tag_scheme IO reads plain "
     "types, --tag_column another column"),
    ("".join(f"a{i} w{i}\n" for i in range(300)), "1: 'w0' is not a tag; expected O, B-TYPE or I-TYPE (IOB2); its "
     "column has 300 different entries, like words or lemmas: --tag_column names another"),
    ("1\tUlm\tulm\tNE\t_\t_\t0\t_\t_\t_\n", "CoNLL-U, but no column has tags; expected name=B-TYPE in the last, or "
     "--tag_column"),
    ("1\tUlm\tulm\tNE\t_\t_\t0\t_\t_\tname=B-LOC\n2\tab\tab\tRP\t_\t_\t0\t_\t_\tname=O\n3\tx\tx\tX\t_\t_\t0\t_\t_\t_\n",
     "3: no name=TAG in the last column, '_'; expected it as in other rows"),
    ("Ulm _\nruft _\n", "1: tag '_', and no tag is O; expected O for words outside entities: it may mean that, which "
     "--tag_scheme says, or a word without annotation"),
    ("a B_PS\nb I_PS\nc O\nd O\n", "1: 'B_PS' is not a tag; expected O, B-TYPE or I-TYPE (IOB2); --tag_scheme B_TYPE "
     "reads such tags"),
])
def test_complaints_name_the_cause(tmp_path, text, message):
    assert complaint(tmp_path, text) == message


def test_a_file_without_blank_lines_is_read_with_a_notice(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(read(tmp_path, "a O\n" * 1000)[0][0]) == 1000
        assert not caplog.records
        assert len(read(tmp_path, "a O\n" * 1001)) == 1
    assert caplog.messages == [
        f"{tmp_path / 'train'}: no blank line in the file, which is read as one sentence of 1,001 words"]


pieces = ["\n", "\n\n", "\t", " ", "#", "# a = 1\n", "0", "1", "2-3", "O", "B-PER", "S-LOC", "PER", "_", "-", "name=",
          "|", "TOKEN", "tag", "\ufeff", "-DOCSTART-"]
changes = st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["insert", "cut", "line gone", "line twice"]),
                             st.sampled_from(pieces)), min_size=1, max_size=4)


def changed(text: str, at: float, way: str, piece: str) -> str:
    lines = text.split("\n")
    line, place = int(at * (len(lines) - 1)), int(at * len(text))
    if way == "line gone":
        return "\n".join(lines[:line] + lines[line + 1 :])
    if way == "line twice":
        return "\n".join(lines[: line + 1] + lines[line:])
    return text[:place] + (piece + text[place:] if way == "insert" else text[place + 1 :])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.sampled_from(list(SHAPES)), changes)
@example("columns by name", [(0.0, "insert", "\t")])
def test_broken_shapes_are_read_or_refused(tmp_path, shape, changes):
    text, options, _ = SHAPES[shape]
    for change in changes:
        text = changed(text, *change)
    try:
        sentences = read(tmp_path, text, **options)
    except UserError as error:
        assert str(error).startswith(f"{tmp_path / 'train'}:") and "; expected " in str(error)
    else:
        assert sentences and all(len(words) == len(tags) > 0 and all(words) for words, tags in sentences)


def test_words_without_annotation_are_counted(tmp_path):
    (tmp_path / "train").write_text("Ulm B-LOC\nab -\nzu O\n\nx -\n", encoding="utf-8")
    sentences = read_file(tmp_path / "train", "de")
    assert [sentence.tags for sentence in sentences] == [["B-LOC", UNANNOTATED, "O"], [UNANNOTATED]]
    tags = TagSet(("O", "B-LOC"))
    rows = corpora.dataset(corpora.Raw("a", ":", sentences), "de", tags)
    assert list(rows["ner_tags"]) == [[1, -1, 0], [-1]]
    assert corpora.count_table({"train": {"de": rows}}, tags).split("\n") == [
        "split    lang      sentences    words    no tag    LOC",
        "train    de                2        4         2      1"]


def test_the_examples_of_the_documentation_are_read(tmp_path):
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    table = text[text.index("## Files with columns") : text.index("`⇥` is a tab")]
    examples = re.findall(r"^\| [^|]+ \| `([^`]+)` \|", table, re.MULTILINE)
    lines = [one.replace("⇥", "\t") for one in examples if "..." not in one and "TOKEN" not in one and "#" not in one]
    assert len(lines) >= 10
    for line in lines:
        ((words, tags),) = read(tmp_path, f"{line}\n")
        assert words in (["Ulm"], ["울"]) and tags in (["B-LOC"], ["B-ORG"], ["B-LC"], ["B-loc"]), line
