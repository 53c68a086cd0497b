"""Entities in colour: what stands between the escape sequences is the text, and nothing else reaches the terminal."""

import re

from hypothesis import given
from hypothesis import strategies as st

from ner.data.text import split_words
from ner.inference.tag import TaggedText, entities_of
from ner.inference.terminal import GROUNDS, coloured

TYPES = ("PER", "ORG", "LOC")
TAGS = ["O", *(start + kind for kind in TYPES for start in ("B-", "I-"))]
MARK = re.compile("\x1b\\[38;5;16;48;5;(\\d+)m (.*?) \x1b\\[1m(\\w+) \x1b\\[0m", re.DOTALL)


@given(st.data())
def test_the_text_is_all_there_and_every_entity_is_marked(data):
    text = data.draw(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
    words = split_words(text)
    tags = [data.draw(st.sampled_from(TAGS)) for _ in words]
    tagged = TaggedText(text, words, tags, [1.0] * len(words))
    shown = coloured(tagged, TYPES)
    assert MARK.sub(r"\2", shown) == text + "\n"
    assert [(one[2], one[3], int(one[1])) for one in MARK.finditer(shown)] == [
        (entity["text"], entity["type"], GROUNDS[TYPES.index(entity["type"])]) for entity in entities_of(tagged)]


def test_a_text_cannot_command_the_terminal():
    text = "a\x1b[2J \x07Bern\x9b \u202e\r\ttab\nline"
    words = split_words(text)
    tags = ["B-LOC" if "Bern" in word.text else "O" for word in words]
    shown = coloured(TaggedText(text, words, tags, [1.0] * len(words)), TYPES)
    assert MARK.sub(r"\2", shown) == "a\ufffd[2J \ufffdBern\ufffd \u202e\ufffd\ttab\nline\n" and "LOC" in shown


def test_more_types_than_colours():
    types = tuple(f"T{i}" for i in range(8))
    words = split_words("a b c d e f g h")
    shown = coloured(TaggedText("a b c d e f g h", words, [f"B-{kind}" for kind in types], [1.0] * 8), types)
    found = [(int(one[1]), one[3]) for one in MARK.finditer(shown)]
    assert found == list(zip([*GROUNDS, *GROUNDS[:2]], types)) and len(set(GROUNDS)) == 6
