"""Exact words in four languages, what holds for any text at all, agreement with PAN-X, and entities as seqeval's."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from ner.data.readers import read_file
from ner.data.text import Word, entities, is_spaceless, split_words

CHARACTERS = "aZnésmt25I٢①🯲 \n\u00a0\u2028\x85'’‘\".,:;!-–—/&@«»„“()*\u0301\u200b\u200d\u200f\ufe0f🇨👩🏽→"
CHARACTERS += "東の、ー한ก\u0e31\u0e49\u0e33๒ខ\u17d2\u1039"
PIECES = ["don't", "n't", "'s", "it’s", "'til", "Dr.", "U.S.", "II.", "1.", "2,5", "...", "--", " ", "''", "(", "-"]
ANY_TEXT = st.text() | st.text(CHARACTERS) | st.lists(st.sampled_from(PIECES)).map("".join)


def words(text: str) -> list[str]:
    return [word.text for word in split_words(text)]


@pytest.mark.parametrize(("text", "expected"), [
    ("Google.", "Google|."),
    ("Frau Dr. Keller-Huber (41) wohnt in St. Gallen.", "Frau|Dr.|Keller-Huber|(|41|)|wohnt|in|St.|Gallen|."),
    ("Am 3. Mai, um 10:30 Uhr: 2.000 Leute!", "Am|3.|Mai|,|um|10:30|Uhr|:|2.000|Leute|!"),
    ("Der „Tagesbote“ und ‚Woche‘ schreiben z. B. oft", "Der|„|Tagesbote|“|und|‚|Woche|‘|schreiben|z.|B.|oft"),
    ("L'ONU, l’Europe et J.-P. Dupont aujourd'hui.", "L'ONU|,|l’Europe|et|J.-P.|Dupont|aujourd'hui|."),
    ("Il lit « La Gazette » ; 3,5 % d'Allemagne…", "Il|lit|«|La|Gazette|»|;|3,5|%|d'Allemagne|…"),
    ("Nell'anno 2001 \"un po' di tutto\", dice l'ANSA.", "Nell'anno|2001|\"|un|po|'|di|tutto|\"|,|dice|l'ANSA|."),
    ("La 'Ndrangheta e la S.p.A. di Bari.", "La|'Ndrangheta|e|la|S.p.A.|di|Bari|."),
    ("O'Brien's shop doesn't, Smith’s CAN'T.", "O'Brien|'s|shop|does|n't|,|Smith|’s|CA|N'T|."),
    ("The 'New Herald' in 's-Hertogenbosch, '90s [1]?", "The|'|New|Herald|'|in|'s-Hertogenbosch|,|'90s|[|1|]|?"),
    ("AC/DC at AT&T: $4,500 for C++", "AC|/|DC|at|AT|&|T|:|$|4,500|for|C++"),
    ("ann@y.org, https://www.y.org/a-b", "ann|@|y.org|,|https|:|/|/|www.y.org|/|a-b"),
    ("Acme—the firm—won 6–3 -- well... Ost- und West-", "Acme|—|the|firm|—|won|6–3|--|well|...|Ost-|und|West-"),
    ("Bern🇨🇭, 👩🏽‍🚀👍!", "Bern|🇨🇭|,|👩🏽‍🚀👍|!"),
    ("You'll see Bern,2001 and 9:x", "You|'ll|see|Bern|,|2001|and|9|:|x"),
    ("''Titel''", "''|Titel|''"),
    ("a\u2028b\u00a0c\x85d\u3000e\u200bf \u200b", "a|b|c|d|e\u200bf|\u200b"),
    ("", ""),
    (" \n\t\u2029", ""),
])
def test_words(text, expected):
    assert words(text) == (expected.split("|") if expected else [])


@pytest.mark.parametrize(("text", "expected"), [
    ("安娜住在伯尔尼。", "安|娜|住|在|伯|尔|尼|。"),
    ("2009年、AC Bernへ3.5％増えた！", "2009|年|、|AC|Bern|へ|3.5|％|増|え|た|！"),
    ("ＮＨＫは「ラジオー・々」ﾃﾚﾋﾞ", "ＮＨＫ|は|「|ラ|ジ|オ|ー|・|々|」|ﾃ|ﾚ|ﾋ|ﾞ"),
    ("葛\U000e0100城か\u3099", "葛\U000e0100|城|か\u3099"),
    ("\U00020bb7野家㈱", "\U00020bb7|野|家|㈱"),
    ("น้ำใจที่กรุงเทพ ๒๕๔๒ Bern", "น้ำ|ใ|จ|ที่|ก|รุ|ง|เ|ท|พ|๒๕๔๒|Bern"),
    ("ສະບາຍດີ ຄຳ", "ສ|ະ|ບ|າ|ຍ|ດີ|ຄຳ"),
    ("ភ្នំពេញ\u200bជា ១២", "ភ្នំ|ពេ|ញ\u200b|ជា|១២"),
    ("မြန်မာ၊ အင်္ဂ", "မြ|န်|မာ|၊|အ|င်္ဂ"),
    ("Dr.王明 No.一", "Dr.|王|明|No.|一"),
])
def test_scripts_without_spaces(text, expected):
    """A word per character with its marks; Latin words and numbers stay words."""
    assert words(text) == expected.split("|")


@pytest.mark.parametrize(("text", "expected"), [
    ("스위스의 베른에서 2,5년.", "스위스의|베른에서|2,5년|."),
    ("金대통령(金安娜)은 베른에", "金대통령|(|金安娜|)|은|베른에"),
    ("La poète 安娜, née à Berne (伯尔尼).", "La|poète|安娜|,|née|à|Berne|(|伯尔尼|)|."),
    ("हिन्दी में", "हिन्दी|में"),
])
def test_scripts_with_spaces(text, expected):
    """Korean, and characters of another script in a text with spaces: as the text has them."""
    assert words(text) == expected.split("|")


@pytest.mark.parametrize(("text", "expected"), [
    ("Bern 東京", False), ("Bern 東京都", True), ("Berne 東京都", False), ("Berne 東京都庁", True),
    ("東京 (Tokyo, capital)", True), ("(Tokyo 東京都庁)", True), ("Tokyo (東京都庁舎前)", False), ("、。 1", True),
    ("", False)])
def test_is_spaceless(text, expected):
    assert is_spaceless(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("Sie lebt in Bern. Danach", "Bern|.|Danach"),
    ("the shop in 1990. Then", "1990|.|Then"),
    ("with the U.S. Army", "U.S.|Army"),
    ("in the U.S.", "U.S|."),
    ("(in the U.S.) and", "U.S.|)|and"),
    ("(in the U.S.)", "U.S|.|)"),
    ("he said “I did.” Then", "did|.|”|Then"),
    ("on y.org. Then", "y.org|.|Then"),
    ("won 6-2. Then", "6-2|.|Then"),
    ("im 1. FC Ost", "1.|FC|Ost"),
    ("Haus usw., dann", "usw.|,|dann"),
    ("mit Prof. Huber", "Prof.|Huber"),
    ("Karl II. regiert", "II|.|regiert"),
    ("Karl II. Rudolf", "II.|Rudolf"),
    ("Sam Hill Jr. (actor", "Jr|.|(|actor"),
])
def test_period(text, expected):
    """Split off at the end of a sentence, kept after an abbreviation; the last words of each text are compared."""
    last = expected.split("|")
    assert words(text)[-len(last):] == last


def test_offsets():
    assert split_words(" Frau Ott,\u2028Bern.") == [
        Word("Frau", 1, 5), Word("Ott", 6, 9), Word(",", 9, 10), Word("Bern", 11, 15), Word(".", 15, 16)
    ]


@given(ANY_TEXT)
@example("a" * 10_000 + "." + "'a" * 10_000)
def test_every_character_but_white_space_belongs_to_one_word(text):
    found = split_words(text)
    assert all(text[word.start : word.end] == word.text for word in found)
    places = [place for word in found for place in range(word.start, word.end)]
    assert places == [place for place, character in enumerate(text) if not character.isspace()]


@given(ANY_TEXT)
@example("it's--it's①a'①\U0001fbf2,2")
def test_a_word_is_not_split_again(text):
    """But for a period that the following words kept on, nonsense before n't, as in `it'sn't`, and a word of another
    script than the text's."""
    found = split_words(text)
    for word, following in zip(found, [*found[1:], Word("", 0, 0)]):
        if following.start == word.end and re.fullmatch("n['’]t", following.text, re.IGNORECASE):
            continue
        if is_spaceless(word.text) != is_spaceless(text):
            continue
        ends_sentence = word.text[-1] == "." and word.text.strip(".") != ""
        assert words(word.text) == ([word.text[:-1], "."] if ends_sentence else [word.text])


@pytest.mark.slow
@pytest.mark.parametrize(("lang", "share"), [("de", 0.97), ("fr", 0.995), ("it", 0.985), ("en", 0.99)])
def test_words_of_panx(shared, lang, share):
    """Sentences without wiki markup, typed as one types (no space before a comma): so many give PAN-X's words."""
    sentences = [s.tokens for s in read_file(shared / "panx" / lang / "dev", lang)]
    plain = [s for s in sentences if not re.search(r"''|``|[*=|\[\]]| ' ", " ".join(s))]
    typed = [re.sub(r" (?=[.,;:!?)%]|('s|n't|'re|'m|'ll)\b)|(?<=[($]) ", "", " ".join(s)) for s in plain]
    agreeing = sum(words(text) == s for text, s in zip(typed, plain))
    assert len(plain) > 5000 and agreeing / len(plain) > share


@pytest.mark.slow
@pytest.mark.parametrize(("lang", "share"), [("ja", 0.999), ("zh", 0.995)])
def test_characters_of_panx(shared, lang, share):
    """Sentences without markup, letters or digits of other scripts; `#` is PAN-X's word for a space."""
    sentences = [s.tokens for s in read_file(shared / "panx" / lang / "dev", lang)]
    other = re.compile(r"''|``| ' |[*=|\[\]]|None|\d|[^\W\d_\u2e80-\U0003ffff]")
    plain = [s for s in sentences if not other.search(" ".join(s))]
    typed = ["".join(" " if word == "#" else word for word in s) for s in plain]
    agreeing = sum(words(text) == [word for word in s if word != "#"] for text, s in zip(typed, plain))
    assert len(plain) > 5000 and agreeing / len(plain) > share


def test_entities():
    text = "Frau  Ott, Bern: FC Ost"
    tags = ["O", "B-PER", "O", "I-LOC", "O", "B-ORG", "I-ORG"]
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.25, 0.75]
    found = [
        {"type": "PER", "text": "Ott", "start": 6, "end": 9},
        {"type": "LOC", "text": "Bern", "start": 11, "end": 15},
        {"type": "ORG", "text": "FC Ost", "start": 17, "end": 23},
    ]
    assert entities(tags, split_words(text), text, None) == found
    scored = [entity | {"score": score} for entity, score in zip(found, [0.2, 0.4, 0.5])]
    assert entities(tags, split_words(text), text, scores) == scored
    assert entities([], [], "", None) == []


def test_entities_need_a_tag_and_a_score_for_every_word():
    text = "Frau Ott"
    with pytest.raises(ValueError):
        entities(["O"], split_words(text), text, None)
    with pytest.raises(ValueError):
        entities(["O", "O"], split_words(text), text, [0.5])


@given(st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-X-Y", "I-X-Y"])))
def test_entities_are_those_of_seqeval(tags):
    text = "ab " * len(tags)
    found = [(e["type"], e["start"] // 3, e["end"] // 3) for e in entities(tags, split_words(text), text, None)]
    assert found == get_entities(tags)
