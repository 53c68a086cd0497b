"""The order of tags, what is not a tag set, and other types."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.tags import PANX_TYPES, UNANNOTATED, TagSet, check_tag, quoted, spans, tag_set, with_types

PANX_NAMES = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")


def test_panx_order_for_exactly_its_types():
    assert tag_set(["LOC", "PER", "ORG", "LOC"]) == TagSet(PANX_NAMES)
    assert tag_set(["LOC", "PER"]).names == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert tag_set(["PER", "ORG", "MISC", "LOC"]).types == ("LOC", "MISC", "ORG", "PER")
    assert tag_set([]).names == ("O",)


def test_ids_and_types_follow_the_names():
    tags = TagSet(("B-ORG", "O", "B-PER", "I-ORG", "I-PER"))
    assert tags.ids == {"B-ORG": 0, "O": 1, "B-PER": 2, "I-ORG": 3, "I-PER": 4}
    assert tags.types == ("ORG", "PER")
    assert tag_set(PANX_TYPES).types == PANX_TYPES
    assert TagSet(("O", "B-PER")).types == ("PER",)


def test_labels():
    assert TagSet(PANX_NAMES).labels(["B-LOC", "I-LOC", "O", "B-PER"]) == [5, 6, 0, 1]
    assert TagSet(PANX_NAMES).labels([]) == []
    assert TagSet(PANX_NAMES).labels(["O", UNANNOTATED, "B-PER"]) == [0, -1, 1]
    expected = "tag 'B-MISC' is outside the tag set; expected one of O, B-PER, I-PER, B-ORG, I-ORG, B-LOC, I-LOC"
    with pytest.raises(ValueError, match=f"^{expected}$"):
        TagSet(PANX_NAMES).labels(["O", "B-MISC"])


@pytest.mark.parametrize(
    "names, message",
    [
        ((), "no O among the tags"),
        (("B-PER", "I-PER"), "no O among the tags B-PER, I-PER; expected O"),
        (("O", "I-PER"), "tag 'I-PER' is without 'B-PER'"),
        (("O", "B-PER", "O"), "tag 'O' occurs twice"),
        (("O", "PER"), "'PER' is not a tag; expected O, B-TYPE or I-TYPE"),
        (("O", "B-PER SON", "I-PER SON"), "'B-PER SON' is not a tag"),
        (("O", "LABEL_1"), "'LABEL_1' is not a tag"),
        (("O", "?"), "'?' marks words without annotation; expected it in the data, not as a tag"),
        (("O", 1), "1 is not a tag; expected a string"),
        (("O", ["B-PER"]), "is not a tag; expected a string"),
    ],
)
def test_what_is_no_tag_set(names, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TagSet(names)


@pytest.mark.parametrize("tag", ["O", "B-PER", "I-PER", "B-O", "I-ORG-part", "B-PERSÖN", "B-人", "I--",
                                 "B-" + "X" * 100])
def test_tags(tag):
    assert check_tag(tag) is None


@pytest.mark.parametrize(
    "tag", ["", "o", "0", "B", "B-", "I-", "b-PER", "B_PER", "BPER", "X-PER", "S-", "-", "_", " O", "O\r", "B-P R",
            "B-P\u00a0R", "B-P\u2028R", "B-PER\r", "B-\ud800", "B-\u200b", "B-P\0",
            "B-" + "X" * 101]
)
def test_what_is_no_tag(tag):
    with pytest.raises(ValueError, match="is not a tag; expected O, B-TYPE or I-TYPE"):
        check_tag(tag)


@pytest.mark.parametrize(
    "tag, scheme, right",
    [("S-PER", "BIOES", "B-PER"), ("E-LOC", "BIOES", "I-LOC"), ("U-ORG", "BILOU", "B-ORG"), ("L-X", "BILOU", "I-X"),
     ("M-X", "BMES", "I-X"), ("W-X", "BMES", "B-X")],
)
def test_other_schemes_are_named(tag, scheme, right):
    with pytest.raises(ValueError, match=f"^tag '{tag}' belongs to {scheme}; expected IOB2, where it is '{right}'$"):
        check_tag(tag)


def test_invisible_characters_are_named():
    assert quoted("a b") == "'a b'"
    assert quoted("a\u00a0b\r") == "'a\\xa0b\\r' (U+00A0 NO-BREAK SPACE, U+000D control character)"
    assert quoted("x" * 99) == repr("x" * 40)


# ---- other types


@pytest.mark.parametrize("before, after", [
    ("B-A I-A O B-B I-B", "B-X I-X O B-X I-X"),
    ("B-A B-B I-B B-A", "B-X B-X I-X B-X"),
    ("B-A I-B I-B I-A", "B-X B-X I-X B-X"),
    ("I-A I-C I-A I-D", "I-X O I-X I-D"),
    ("B-C I-C I-A B-D I-D", "O O I-X B-D I-D"),
    ("B-A ? I-B ? O", "B-X ? I-X ? O"),
    ("", ""),
])
def test_with_types(before, after):
    assert with_types(before.split(), {"A": "X", "B": "X", "C": "O"}) == after.split()
    assert with_types(before.split(), {}) == before.split()


def test_types_may_change_places():
    assert with_types(["B-A", "I-A", "B-B", "I-A"], {"A": "B", "B": "A"}) == ["B-B", "I-B", "B-A", "I-B"]


@given(st.lists(st.sampled_from(["O", "?", "B-A", "I-A", "B-B", "I-B", "B-C", "I-C", "B-D", "I-D"])),
       st.dictionaries(st.sampled_from("ABC"), st.sampled_from(["A", "D", "O", "X"])))
def test_with_types_changes_no_entity_but_its_type(tags, types):
    expected = [(first, end, types.get(old, old)) for first, end, old in spans(tags)]
    found = with_types(tags, types)
    assert spans(found) == [span for span in expected if span[2] != "O"]
    assert [i for i, tag in enumerate(found) if tag == "?"] == [i for i, tag in enumerate(tags) if tag == "?"]
