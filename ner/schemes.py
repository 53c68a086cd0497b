"""Tags of every scheme -> IOB2, a whole file or data set at once, because only a whole shows what its tags mean."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise

from seqeval import scheme as seqeval_scheme

from ner.tags import SCHEMES, UNANNOTATED, check_tag, quoted, spans, well_formed

WITHOUT_TAG = ("?", "-", "_")  # how corpora write it
AS_BIOES = {"L": "E", "U": "S", "M": "I", "W": "S"}  # what the other schemes call the same
SPELLINGS = {"B_TYPE": "(?P<letter>[BIESLUMW])_(?P<type>.+)", "BTYPE": "(?P<letter>[BIESLUMW])(?P<type>.+)",
             "TYPE-B": "(?P<type>.+)-(?P<letter>[BIESLUMW])", "TYPE_B": "(?P<type>.+)_(?P<letter>[BIESLUMW])"}
USUAL_SPELLING = "(?P<letter>[BIESLUMW])-(?P<type>.+)"
TAG_SCHEMES = ("IO", *SCHEMES, *SPELLINGS)
MAX_TYPES = 200  # of plain type names; more of them are words or lemmas


class TagError(ValueError):
    """A tag that cannot be read, with its place: sentence and word, both from 0."""

    def __init__(self, message: str, sentence: int, word: int):
        super().__init__(message)
        self.sentence, self.word = sentence, word


def to_iob2(sentences: Sequence[Sequence[str]], scheme: str | None = None) -> tuple[list[list[str]], str | None]:
    """All sentences of a file or data set in IOB2, and a notice of what was converted; TagError for what is no tag.

    scheme: one of TAG_SCHEMES; by default it is found by the tags. ``?``, ``-`` and ``_`` become UNANNOTATED.

    ``to_iob2([["S-PER", "O"], ["B-LOC", "E-LOC"]]) -> ([["B-PER", "O"], ["B-LOC", "I-LOC"]], "the tags are BIOES...")``
    """
    counts = Counter(chain.from_iterable(sentences))
    missing = [tag for tag in WITHOUT_TAG if counts[tag]]
    outside = missing.pop(0) if scheme and not counts["O"] and 0 < len(missing) < len(counts) else None
    if missing and not counts["O"]:
        raise error_at(sentences, missing[0], f"tag {missing[0]!r}, and no tag is O; expected O for words outside "
                       f"entities: it may mean that, which --tag_scheme says, or a word without annotation")
    spelled = {tag: usual_spelling(tag, scheme) for tag in counts if tag not in WITHOUT_TAG}
    found = scheme if scheme in SCHEMES or scheme == "IO" else scheme_of(sentences, spelled, counts)
    try:
        for tag, usual in spelled.items():
            check_in_scheme(usual, found, tag)
    except ValueError as error:
        raise error_at(sentences, tag, f"{error}{hint(spelled, counts, scheme)}") from None
    bioes = dict.fromkeys(missing, UNANNOTATED) | {tag: as_bioes(usual, found) for tag, usual in spelled.items()}
    bioes |= {outside: "O"} if outside else {}
    rows = [[bioes[tag] for tag in tags] for tags in sentences]
    notices = []
    if found != "IOB2" and spelled.keys() - {"O"}:
        notices.append(notice_of(rows, found))
        rows = [from_spans(row) for row in rows]
    elif scheme in SPELLINGS:
        notices.append(f"the tags are spelled {scheme} and were converted to IOB2")
    if outside:
        notices.append(f"{outside} was read as O")
    if missing:
        number = sum(counts[tag] for tag in missing)
        notices.append(f"{number:,} of {counts.total():,} words are tagged {' or '.join(missing)}: without annotation, "
                       "neither trained nor scored")
    return rows, "; ".join(notices) or None


def error_at(sentences: Sequence[Sequence[str]], tag: str, message: str) -> TagError:
    """About the first word with this tag."""
    sentence = next(number for number, tags in enumerate(sentences) if tag in tags)
    return TagError(message, sentence, list(sentences[sentence]).index(tag))


def usual_spelling(tag: str, scheme: str | None) -> str:
    """``B_PER`` with scheme ``B_TYPE`` -> ``B-PER``"""
    if match := scheme in SPELLINGS and re.fullmatch(SPELLINGS[scheme], tag):
        return f"{match['letter']}-{match['type']}"
    return tag


def looks_like_tag(tag: str, scheme: str | None = None) -> bool:
    """Whether it is O or has the letter of some scheme."""
    return tag == "O" or re.fullmatch(USUAL_SPELLING, usual_spelling(tag, scheme)) is not None


def scheme_of(sentences: Sequence[Sequence[str]], spelled: dict[str, str], counts: Counter[str]) -> str:
    """The scheme that the tags of a file are in; IOB2 where none fits, so that what does not fit is named."""
    letters = {usual[0] for usual in spelled.values() if re.fullmatch(USUAL_SPELLING, usual)}
    if not letters and plain_types(counts):
        return "IO"
    if letters == {"B"} or not letters:
        return "IOB2"
    if letters <= set("BI"):
        return "IOB1" if is_iob1([spelled.get(tag, UNANNOTATED) for tag in tags] for tags in sentences) else "IOB2"
    found = next((name for name in ("IOE", "BIOES", "BILOU", "BMES") if letters <= set(SCHEMES[name])), "IOB2")
    if found in ("IOB2", "IOE"):
        return found
    usual = {tag: as_bioes(usual, found) for tag, usual in spelled.items() if re.fullmatch(USUAL_SPELLING, usual)}
    by_rule, all_entities = rule_keepers([[usual.get(tag, "O") for tag in tags] for tags in sentences])
    return found if by_rule > all_entities / 2 else "IOB2"


def plain_types(counts: Counter[str]) -> bool:
    """Whether tags without letters are types: few, no more frequent than O, and with no letters spelled otherwise."""
    types = [tag for tag in counts if tag != "O" and tag not in WITHOUT_TAG]
    return (0 < len(types) <= MAX_TYPES and counts["O"] >= max(counts[tag] for tag in types)
            and all(map(may_be_type, types)) and not other_spelling(types))


def may_be_type(tag: str) -> bool:
    """Whether it has a letter of the alphabet and is not a broken tag, such as ``B-`` or ``b-PER``."""
    return (re.search(r"[^\W\d_]", tag) is not None and well_formed(tag)
            and not re.match("([bieslumw](-|$)|o$)", tag, re.IGNORECASE))


def other_spelling(types: Sequence[str]) -> str | None:
    """How tags are spelled that have their letter elsewhere: in the way in which all of them can be read."""
    found = [name for name in ("B_TYPE", "TYPE-B", "TYPE_B", "BTYPE")
             if all(re.fullmatch(SPELLINGS[name], tag) for tag in types)]
    same_type_twice = len({tag[1:] for tag in types}) < len(types)  # or it may be a plain type: BANK, INDIVIDUAL
    return found[0] if found and (found[0] != "BTYPE" or same_type_twice) else None


def check_in_scheme(tag: str, scheme: str, written: str) -> None:
    """ValueError unless the tag, spelled as usual, is one of the scheme; `written`: as the file has it."""
    if scheme in ("IOB1", "IOB2"):
        check_tag(tag)
    elif scheme == "IO" and not well_formed(tag):
        raise ValueError(f"{quoted(written)} is not a type; expected O or the name of a type (IO)")
    elif scheme != "IO" and tag != "O" and not (tag[1:2] == "-" and tag[0] in SCHEMES[scheme] and well_formed(tag[2:])):
        letters = ", ".join(f"{letter}-TYPE" for letter in SCHEMES[scheme])
        raise ValueError(f"{quoted(written)} is not a tag of {scheme}; expected O, {letters}")


def hint(spelled: dict[str, str], counts: Counter[str], scheme: str | None) -> str:
    """What to do about tags none of which has a letter in the usual place."""
    plain = [tag for tag in spelled if tag != "O"]
    if scheme or any(re.fullmatch(USUAL_SPELLING, tag) for tag in plain):
        return ""
    if spelling := other_spelling(plain):
        return f"; --tag_scheme {spelling} reads such tags"
    if len(plain) > MAX_TYPES:
        return f"; its column has {len(plain):,} different entries, like words or lemmas: --tag_column names another"
    types = sum(map(may_be_type, plain)) > len(plain) / 2 and counts.total() > 1
    return "; --tag_scheme IO reads plain types, --tag_column another column" if types else ""


def as_bioes(tag: str, scheme: str) -> str:
    """With the letters of BIOES, whatever the scheme calls them; a plain type gets an I-."""
    if scheme == "IO" and tag != "O":
        return f"I-{tag}"
    return AS_BIOES.get(tag[0], tag[0]) + tag[1:]


def rule_keepers(rows: list[list[str]]) -> tuple[int, int]:
    """How many entities keep the rules of BIOES, and how many there are."""
    known = [["O" if tag == UNANNOTATED else tag for tag in row] for row in rows]
    strict = seqeval_scheme.Entities(known, seqeval_scheme.IOBES).entities
    return sum(map(len, strict)), sum(len(spans(row)) for row in rows)


def notice_of(rows: list[list[str]], scheme: str) -> str:
    """rows: with the letters of BIOES."""
    notice = f"the tags are {scheme} and were converted to IOB2"
    if scheme == "IO":
        return f"{notice}; neighbouring entities of one type cannot be told apart and are one"
    if scheme == "IOB1" and (strays := openings(rows)[1]):
        return f"{notice}, although {strays:,} entities open with B- where IOB1 has I-"
    if scheme in ("BIOES", "BILOU", "BMES"):
        by_rule, found = rule_keepers(rows)
        return notice + (f"; {found - by_rule:,} of {found:,} entities break its rules" if by_rule < found else "")
    return notice


def from_spans(tags: Sequence[str]) -> list[str]:
    """IOB2 for the same entities; UNANNOTATED stays."""
    iob2 = [UNANNOTATED if tag == UNANNOTATED else "O" for tag in tags]
    for first, end, entity_type in spans(tags):
        iob2[first:end] = [f"B-{entity_type}", *[f"I-{entity_type}"] * (end - first - 1)]
    return iob2


def openings(sentences: Iterable[Sequence[str]]) -> tuple[int, int]:
    """How many entities an ``I-`` opens, as only IOB1 has it, and how many a ``B-`` that IOB1 does not need. After a
    word without annotation, they may have begun before."""
    inside = needless = 0
    for tags in sentences:
        for before, tag in pairwise(("O", *tags)):
            if tag[:2] in ("B-", "I-") and before[2:] != tag[2:] and before != UNANNOTATED:
                inside += tag[0] == "I"
                needless += tag[0] == "B"
    return inside, needless


def is_iob1(sentences: Iterable[Sequence[str]]) -> bool:
    """Whether a file's tags are IOB1: where it differs from IOB2, most entities follow IOB1."""
    inside, needless = openings(sentences)
    return inside > needless


def iob1_to_iob2(tags: Sequence[str]) -> list[str]:
    """The same entities with a ``B-`` at the start of each."""
    return from_spans(tags)
