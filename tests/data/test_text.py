"""Exact words in four languages, what must hold for any text at all, agreement with PAN-X, and entities as seqeval's."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from ner.data.readers import read_file
from ner.data.text import Word, entities, split_words

TRICKY = st.text(alphabet=list("aZné2١①5IVs t'’‘\".,:;!-–—/&@«»„“()\u0301\u200b\u200d\u200e\u2028\u00a0\x85🇨👩🏽\ufe0f→"))
ANY_TEXT = st.text() | TRICKY | st.lists(st.sampled_from(
    ["don't", "n't", "'s", "it’s", "'til", "Dr.", "U.S.", "II.", "1.", "2,5", "...", "--", " ", "''", "(", "ok", "-"]
)).map("".join)


def words(text: str) -> list[str]:
    return [word.text for word in split_words(text)]


@pytest.mark.parametrize("expected", [
    "Google|.",
    "Frau|Dr.|Keller-Huber|wohnt|in|St.|Gallen|,|z.|B.|am|3.|Mai|um|10:30|Uhr|:|2.000|Leute|!",
    "Der|„|Tagesbote|“|fragt|:|Wer|kennt|die|U.S.|Navy|?",
    "L'ONU|(|et|l’Europe|)|quitte|aujourd'hui|la|Côte-d'Or|;|3,5|%|d'Allemagne|...",
    "Il|lit|«|La|Gazette|»|;|J.-P.|Dupont|aussi|.",
    "Nell'anno|2001|l'ANSA|scrive|:|\"|un|po|'|di|tutto|\"|.",
    "La|'Ndrangheta|e|la|S.p.A.|di|Bari|,|dall'Aquila|.",
    "O'Brien|'s|shop|does|n't|sell|C++|,|Smith|’s|does|.",
    "the|'|New|Herald|'|of|the|'90s|[|1|]|cost|$|4,500.50|in|AC|/|DC|'s|AT|&|T|days",
    "mail|x|@|y.org|or|https|:|/|/|www.y.org|/|a-b",
    "Apple|—|the|firm|—|won|6–3|–|5–7|--|well|…",
    "Bern|🇨🇭|👩🏽‍🚀|👍|!",
])
def test_words(expected):
    """Written as the words that are expected; the text leaves out the spaces that nobody types."""
    text = re.sub(r"\|(?=[.,;:!?%)\]”“’…🇨👍]|\.\.\.|'s|n't|' )|(?<=[(\[$„])\||(?<=[/&@])\||\|(?=[/&@—])|(?<=—)\|", "", expected)
    assert words(text.replace("|", " ")) == expected.split("|")
