"""Every scheme -> IOB2, and what is not a scheme."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.options import CHOICES
from ner.schemes import SPELLINGS, TAG_SCHEMES, TagError, iob1_to_iob2, is_iob1, to_iob2
from ner.tags import UNANNOTATED, check_tag, spans
from tests.helpers.paths import ROOT


@pytest.mark.parametrize(
    "sentences, expected",
    [
        ([], False),
        ([["O", "O"]], False),
        ([["I-PER", "I-PER", "O"]], True),
        ([["O"], ["I-PER", "B-PER", "B-PER"]], True),
        ([["I-PER", "I-LOC"]], True),
        ([["B-PER", "I-PER"]], False),
        ([["I-PER"], ["O", "B-PER"]], False),
        ([["I-PER"], ["B-PER"]], False),  # the entity before ended with its sentence
        ([["I-PER", "B-LOC"]], False),
        ([["O", "B-LOC", "B-LOC", "I-PER"]], False),
        ([["?", "I-PER"], ["B-PER"]], False),  # its B- may be what is missing
    ],
)
def test_is_iob1(sentences, expected):
    assert is_iob1(sentences) is expected


@pytest.mark.parametrize(
    "iob1, iob2",
    [
        ([], []),
        (["I-PER", "I-PER", "O", "I-PER"], ["B-PER", "I-PER", "O", "B-PER"]),
        (["I-PER", "B-PER", "I-PER"], ["B-PER", "B-PER", "I-PER"]),
        (["I-PER", "I-LOC", "I-LOC", "B-LOC"], ["B-PER", "B-LOC", "I-LOC", "B-LOC"]),
        (["O", "O"], ["O", "O"]),
    ],
)
def test_iob1_to_iob2(iob1, iob2):
    assert iob1_to_iob2(iob1) == iob2


def to_iob1(tags: list[str]) -> list[str]:
    """The other way round: B- stays where it parts two entities of one type."""
    before = ["O", *tags]
    return ["I" + tag[1:] if tag[:2] == "B-" and before[i][2:] != tag[2:] else tag for i, tag in enumerate(tags)]


@given(st.lists(st.sampled_from([["O"], ["B-PER"], ["B-PER", "I-PER"], ["B-LOC", "I-LOC", "I-LOC"]]), max_size=8))
def test_iob1_and_back(pieces):
    iob2 = [tag for piece in pieces for tag in piece]
    assert iob1_to_iob2(to_iob1(iob2)) == iob2
    assert iob1_to_iob2(iob2) == iob2
    assert is_iob1([to_iob1(iob2)]) is (to_iob1(iob2) != iob2)


PEOPLE = ["B-PER", "I-PER", "I-PER", "O", "B-PER", "B-PER", "I-PER", "B-LOC", "O", "B-ORG", "I-ORG"]
IN_SCHEMES = {
    "IOB1": "I-PER I-PER I-PER O I-PER B-PER I-PER I-LOC O I-ORG I-ORG",
    "IOE": "I-PER I-PER E-PER O E-PER I-PER E-PER E-LOC O I-ORG E-ORG",
    "BIOES": "B-PER I-PER E-PER O S-PER B-PER E-PER S-LOC O B-ORG E-ORG",
    "BILOU": "B-PER I-PER L-PER O U-PER B-PER L-PER U-LOC O B-ORG L-ORG",
    "BMES": "B-PER M-PER E-PER O S-PER B-PER E-PER S-LOC O B-ORG E-ORG",
}


@pytest.mark.parametrize("scheme", IN_SCHEMES)
@pytest.mark.parametrize("told", [False, True])
def test_every_scheme_becomes_iob2_without_loss(scheme, told):
    tags = IN_SCHEMES[scheme].split()
    notice = f"the tags are {scheme} and were converted to IOB2"
    assert to_iob2([tags, ["O"]], scheme if told else None) == ([PEOPLE, ["O"]], notice)
    assert to_iob2([["O"], []], scheme if told else None) == ([["O"], []], None)


def test_ioe1_has_e_only_between_neighbours():
    tags = ["I-PER", "I-PER", "O", "E-PER", "I-PER", "I-LOC"]
    assert to_iob2([tags])[0] == [["B-PER", "I-PER", "O", "B-PER", "B-PER", "B-LOC"]]


def test_iob2_stays_as_it_is():
    for tags in [PEOPLE, ["O", "O"], [], ["B-PER"], ["I-PER", "O", "B-PER"]]:
        assert to_iob2([tags]) == ([tags], None)
        assert to_iob2([tags], "IOB2") == ([tags], None)
    assert to_iob2([]) == ([], None)


def test_a_few_strays_do_not_hide_iob1():
    sentences = [["I-PER", "I-PER", "O", "I-LOC"]] * 50 + [["B-PER", "O", "B-LOC"]]
    found, notice = to_iob2(sentences)
    assert found == [["B-PER", "I-PER", "O", "B-LOC"]] * 50 + [["B-PER", "O", "B-LOC"]]
    assert notice == ("the tags are IOB1 and were converted to IOB2, although 2 entities open with B- "
                      "where IOB1 has I-")
    assert to_iob2([["I-PER", "O", "B-PER"]] * 50) == ([["I-PER", "O", "B-PER"]] * 50, None)


def test_io_melts_neighbours_and_says_so():
    found, notice = to_iob2([["PER", "PER", "O", "PER", "LOC"], ["O", "person-actor", "O", "O"]])
    assert found == [["B-PER", "I-PER", "O", "B-PER", "B-LOC"], ["O", "B-person-actor", "O", "O"]]
    assert notice == ("the tags are IO and were converted to IOB2; "
                      "neighbouring entities of one type cannot be told apart and are one")
    assert to_iob2([["PER", "PER", "O"]], "IO")[0] == [["B-PER", "I-PER", "O"]]


@pytest.mark.parametrize(("spelling", "tags"), [
    ("B_TYPE", "B_PS I_PS O B_OG"), ("BTYPE", "BPS IPS O BOG"), ("TYPE-B", "PS-B PS-I O OG-B"),
    ("TYPE_B", "PS_B PS_I O OG_B")])
def test_other_spellings_are_read_when_named(spelling, tags):
    expected = [["B-PS", "I-PS", "O", "B-OG"]]
    notice = f"the tags are spelled {spelling} and were converted to IOB2"
    assert to_iob2([tags.split()], spelling) == (expected, notice)
    with pytest.raises(TagError, match=f"; --tag_scheme {spelling} reads such tags$"):
        to_iob2([tags.split()])
    with pytest.raises(TagError, match=f"; --tag_scheme {spelling} reads such tags$"):
        to_iob2([[*tags.split(), "O", "O", "O"]])  # as many as IO has


def test_spellings_of_other_schemes():
    assert to_iob2([["S_PS", "O", "B_PS", "E_PS"]], "B_TYPE")[0] == [["B-PS", "O", "B-PS", "I-PS"]]
    assert to_iob2([["PS-I", "O", "PS-I", "PS-B"]], "TYPE-B")[0] == [["B-PS", "O", "B-PS", "B-PS"]]


@pytest.mark.parametrize("blank", ["?", "-", "_"])
def test_words_without_annotation(blank):
    found, notice = to_iob2([["B-PER", blank, "O"], ["O", blank]])
    assert found == [["B-PER", UNANNOTATED, "O"], ["O", UNANNOTATED]]
    assert notice == f"2 of 5 words are tagged {blank}: without annotation, neither trained nor scored"
    assert to_iob2([["S-PER", blank, "I-PER", "O", "S-PER"]], "BIOES")[0] == [["B-PER", "?", "B-PER", "O", "B-PER"]]
    with pytest.raises(TagError, match=f"^tag '\\{blank}', and no tag is O; expected O"):
        to_iob2([["B-PER", blank]])
    with pytest.raises(TagError, match="no tag is O"):
        to_iob2([[blank, blank]], "BIOES")
    notice = f"the tags are IOB1 and were converted to IOB2; {blank} was read as O"
    assert to_iob2([["I-PER", blank]], "IOB1") == ([["B-PER", "O"]], notice)


@pytest.mark.parametrize(("sentences", "scheme", "place", "message"), [
    ([["O"], ["B-PER", "PER"]], None, (1, 1), "'PER' is not a tag; expected O, B-TYPE or I-TYPE (IOB2)"),
    ([["B-PER", "O", "B-PER", "S-LOC"]], None, (0, 3),
     "tag 'S-LOC' belongs to BIOES; expected IOB2, where it is 'B-LOC'"),
    ([["O", "L-PER"]], None, (0, 1), "tag 'L-PER' belongs to BILOU; expected IOB2, where it is 'I-PER'"),
    ([["S-PER", "L-PER"]], None, (0, 0), "tag 'S-PER' belongs to BIOES; expected IOB2, where it is 'B-PER'"),
    ([["O", "S-PER"]], "IOB1", (0, 1), "tag 'S-PER' belongs to BIOES; expected IOB2, where it is 'B-PER'"),
    ([["O", "L-PER"]], "BIOES", (0, 1), "'L-PER' is not a tag of BIOES; expected O, B-TYPE, I-TYPE, E-TYPE, S-TYPE"),
    ([["O", "B PER"]], "IO", (0, 1), "'B PER' is not a type; expected O or the name of a type (IO)"),
    ([["NN", "VB"]], None, (0, 0), "'NN' is not a tag; expected O, B-TYPE or I-TYPE (IOB2); "
     "--tag_scheme IO reads plain types, --tag_column another column"),
    ([["O", "O", "b-PER"]], None, (0, 2), "'b-PER' is not a tag; expected O, B-TYPE or I-TYPE (IOB2)"),
    ([[f"w{i}" for i in range(300)]], None, (0, 0), "'w0' is not a tag; expected O, B-TYPE or I-TYPE (IOB2); its "
     "column has 300 different entries, like words or lemmas: --tag_column names another"),
    ([["O", "B-PER\ufeff"]], None, (0, 1), "'B-PER\\ufeff' (U+FEFF ZERO WIDTH NO-BREAK SPACE) is not a tag; "
     "expected O, B-TYPE or I-TYPE (IOB2)"),
])
def test_the_place_and_cause_of_what_is_not_a_tag(sentences, scheme, place, message):
    with pytest.raises(TagError) as error:
        to_iob2(sentences, scheme)
    assert (error.value.sentence, error.value.word, str(error.value)) == (*place, message)


def test_broken_rules_are_counted():
    notice = to_iob2([["S-PER", "O", "B-LOC", "E-LOC", "S-PER"], ["B-ORG", "O"]])[1]
    assert notice == "the tags are BIOES and were converted to IOB2; 1 of 4 entities break its rules"


def to_letters(tags: list[str], single: str, last: str, inside: str) -> list[str]:
    """IOB2 in the letters of another scheme."""
    other = list(tags)
    for first, end, kind in spans(tags):
        other[first:end] = ([f"{single}-{kind}"] if end == first + 1 else
                            [f"B-{kind}", *[f"{inside}-{kind}"] * (end - first - 2), f"{last}-{kind}"])
    return other


@given(st.lists(st.lists(st.sampled_from([["O"], ["B-PER"], ["B-PER", "I-PER"], ["B-LOC", "I-LOC", "I-LOC"]]),
                         max_size=8), min_size=1),
       st.sampled_from([("S", "E", "I"), ("U", "L", "I"), ("S", "E", "M")]))
def test_there_and_back(sentences, letters):
    iob2 = [[tag for piece in pieces for tag in piece] for pieces in sentences]
    assert to_iob2([to_letters(tags, *letters) for tags in iob2])[0] == iob2


@given(st.lists(st.lists(st.sampled_from(["O", "B-A", "I-A", "E-A", "S-B", "U-B", "L-A", "M-A", "W-B", "A", "?", "-",
                                          "B_A", "AB", "x y", ""]), max_size=6), max_size=4),
       st.sampled_from([None, *TAG_SCHEMES]))
def test_any_tags_are_converted_or_refused_with_their_place(sentences, scheme):
    try:
        found, _ = to_iob2(sentences, scheme)
    except TagError as error:
        assert sentences[error.sentence][error.word] is not None and "; expected " in str(error)
    else:
        assert [len(tags) for tags in found] == [len(tags) for tags in sentences]
        for tag in {tag for tags in found for tag in tags} - {UNANNOTATED}:
            check_tag(tag)


def test_the_option_names_every_scheme():
    assert CHOICES["tag_scheme"] == TAG_SCHEMES and set(SPELLINGS) <= set(TAG_SCHEMES)


def test_the_table_of_the_documentation_is_right():
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| `([^`]+)`, `([^`]+)` \|", text[text.index("## Tag schemes") :], re.MULTILINE)
    found = [(name, [first.split(), [last]]) for names, first, last in rows
             for name in re.findall(r"[\w-]+", names.split(",")[-1])]
    assert len(found) == 10 and {name for name, _ in found} <= set(TAG_SCHEMES)
    for name, tags in found:
        assert to_iob2(tags, name)[0] == [["B-PER", "I-PER"], ["B-LOC"]], name
