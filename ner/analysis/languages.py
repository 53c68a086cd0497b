"""The 40 languages of PAN-X in XTREME (Hu et al. 2020, arXiv:2003.11080), and published zero-shot results from English.

The results by language are those of XLM-R-base in table 10 of the XLM-V paper (Liang et al. 2023, arXiv:2301.10472), as
copied at github.com/stefan-it/xlm-v-experiments; the means over all 40 are from the XTREME paper (mBERT, XLM-R-large)
and from the mmBERT paper (Marone et al. 2025, arXiv:2509.06888). None has an interval.
"""

from collections.abc import Iterable
from typing import NamedTuple


class Language(NamedTuple):
    name: str
    family: str
    script: str
    published: float  # micro F1 of XLM-R-base on the test set, trained on English


PANX = {
    "af": Language("Afrikaans", "Germanic", "Latin", 0.758),
    "ar": Language("Arabic", "Semitic", "Arabic", 0.438),
    "bg": Language("Bulgarian", "Slavic", "Cyrillic", 0.761),
    "bn": Language("Bengali", "Indo-Aryan", "Bengali", 0.690),
    "de": Language("German", "Germanic", "Latin", 0.744),
    "el": Language("Greek", "Greek", "Greek", 0.738),
    "en": Language("English", "Germanic", "Latin", 0.830),
    "es": Language("Spanish", "Romance", "Latin", 0.702),
    "et": Language("Estonian", "Uralic", "Latin", 0.712),
    "eu": Language("Basque", "Basque", "Latin", 0.572),
    "fa": Language("Persian", "Iranian", "Arabic", 0.446),
    "fi": Language("Finnish", "Uralic", "Latin", 0.744),
    "fr": Language("French", "Romance", "Latin", 0.765),
    "he": Language("Hebrew", "Semitic", "Hebrew", 0.532),
    "hi": Language("Hindi", "Indo-Aryan", "Devanagari", 0.672),
    "hu": Language("Hungarian", "Uralic", "Latin", 0.758),
    "id": Language("Indonesian", "Austronesian", "Latin", 0.486),
    "it": Language("Italian", "Romance", "Latin", 0.769),
    "ja": Language("Japanese", "Japonic", "Japanese", 0.210),
    "jv": Language("Javanese", "Austronesian", "Latin", 0.594),
    "ka": Language("Georgian", "Kartvelian", "Georgian", 0.654),
    "kk": Language("Kazakh", "Turkic", "Cyrillic", 0.422),
    "ko": Language("Korean", "Koreanic", "Hangul", 0.494),
    "ml": Language("Malayalam", "Dravidian", "Malayalam", 0.619),
    "mr": Language("Marathi", "Indo-Aryan", "Devanagari", 0.615),
    "ms": Language("Malay", "Austronesian", "Latin", 0.683),
    "my": Language("Burmese", "Sino-Tibetan", "Burmese", 0.489),
    "nl": Language("Dutch", "Germanic", "Latin", 0.800),
    "pt": Language("Portuguese", "Romance", "Latin", 0.770),
    "ru": Language("Russian", "Slavic", "Cyrillic", 0.631),
    "sw": Language("Swahili", "Bantu", "Latin", 0.663),
    "ta": Language("Tamil", "Dravidian", "Tamil", 0.563),
    "te": Language("Telugu", "Dravidian", "Telugu", 0.492),
    "th": Language("Thai", "Kra-Dai", "Thai", 0.052),
    "tl": Language("Tagalog", "Austronesian", "Latin", 0.698),
    "tr": Language("Turkish", "Turkic", "Latin", 0.754),
    "ur": Language("Urdu", "Indo-Aryan", "Arabic", 0.514),
    "vi": Language("Vietnamese", "Austroasiatic", "Latin", 0.677),
    "yo": Language("Yoruba", "Volta-Niger", "Latin", 0.336),
    "zh": Language("Chinese", "Sino-Tibetan", "Chinese", 0.253),
}
TEST_SENTENCES = (100, 1000, 10_000)  # of its whole test sets, by language
MEANS = {"mBERT": 0.622, "multilingual MiniLM": 0.592, "XLM-R-base": 0.614, "XLM-R-large": 0.654}  # over all 40


def published_mean(langs: Iterable[str]) -> float:
    """The mean of the published F1 by language over these languages."""
    found = [PANX[lang].published for lang in langs]
    return sum(found) / len(found)
