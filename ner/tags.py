"""Tags and their ids, and the rules of IOB2.

IOB2 (every entity opens with ``B-``) is the one scheme inside the project; `schemes` converts whatever is read. An
``I-`` that opens an entity in an IOB2 file stays: scorers differ on it, so it is data.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from seqeval.metrics.sequence_labeling import get_entities

Span = tuple[int, int, str]  # first word, end word, type
PANX_TYPES = ("PER", "ORG", "LOC")
MAX_TYPE = 100  # characters; a longer one is a broken line, and would fill every message about tags
UNANNOTATED = "?"  # in place of the tag of a word that nobody has annotated
NO_LABEL = -1  # the id of UNANNOTATED
SCHEMES = {"IOB1": "BI", "IOB2": "BI", "IOE": "IE", "BIOES": "BIES", "BILOU": "BILU", "BMES": "BMESW"}


def quoted(text: str) -> str:
    """Text in a message: cut, and with the names of characters that nobody sees."""
    text = text[:40]
    odd = dict.fromkeys(char for char in text if not char.isprintable() and char != "\t")
    names = ", ".join(f"U+{ord(char):04X} {unicodedata.name(char, 'control character')}" for char in odd)
    return f"{text!r} ({names})" if names else repr(text)


def well_formed(entity_type: str) -> bool:
    return entity_type.isprintable() and 0 < len(entity_type) <= MAX_TYPE and " " not in entity_type


@lru_cache(maxsize=1024)
def check_tag(tag: str) -> None:
    """Raise ValueError unless ``tag`` is ``O``, ``B-TYPE`` or ``I-TYPE``, TYPE printable, without white space and of up
    to `MAX_TYPE` characters."""
    if tag in ("O", UNANNOTATED) or tag[:2] in ("B-", "I-") and well_formed(tag[2:]):
        return
    if re.match("[ESLUMW]-", tag) and well_formed(tag[2:]):
        scheme = next(name for name in ("BIOES", "BILOU", "BMES") if tag[0] in SCHEMES[name])
        iob2 = ("B-" if tag[0] in "SUW" else "I-") + tag[2:42]
        raise ValueError(f"tag {tag[:40]!r} belongs to {scheme}; expected IOB2, where it is {iob2!r}")
    raise ValueError(f"{quoted(tag)} is not a tag; expected O, B-TYPE or I-TYPE (IOB2)")


@dataclass(frozen=True)
class TagSet:
    """The tags of a model in the order of their ids (K of them); ValueError where they are not an IOB2 set."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        seen = set()
        for name in self.names:
            if not isinstance(name, str):
                raise ValueError(f"{name!r} is not a tag; expected a string")
            if name == UNANNOTATED:
                raise ValueError(f"{name!r} marks words without annotation; expected it in the data, not as a tag")
            check_tag(name)
            if name in seen:
                raise ValueError(f"tag {name!r} occurs twice in the tag set; expected it once")
            seen.add(name)
        for name in self.names:
            if name.startswith("I-") and "B-" + name[2:] not in seen:
                raise ValueError(f"tag {name!r} is without {'B-' + name[2:]!r}; expected both in a tag set")
        if "O" not in seen:
            raise ValueError(f"no O among the tags {', '.join(self.names)}; expected O, and B-TYPE, I-TYPE for a type")

    @cached_property
    def ids(self) -> dict[str, int]:
        return {name: label for label, name in enumerate(self.names)}

    @property
    def types(self) -> tuple[str, ...]:
        """Entity types in the order of their ``B-`` tags."""
        return tuple(name[2:] for name in self.names if name.startswith("B-"))

    def labels(self, tags: Iterable[str]) -> list[int]:
        """The ids of a sentence's tags, -1 for UNANNOTATED; ValueError names the first tag that is outside the set."""
        try:
            return [NO_LABEL if tag == UNANNOTATED else self.ids[tag] for tag in tags]
        except KeyError as error:
            expected = ", ".join(self.names)
            raise ValueError(f"tag {error.args[0]!r} is outside the tag set; expected one of {expected}") from None

    def names_of(self, labels: Iterable[int]) -> list[str]:
        """The tags of ids; -1 for a word without annotation."""
        return [UNANNOTATED if label < 0 else self.names[label] for label in labels]


def tag_set(types: Iterable[str]) -> TagSet:
    """``O``, then ``B-T`` and ``I-T`` of every type: PAN-X's order for exactly PAN-X's types, else alphabetical."""
    found = set(types)
    order = PANX_TYPES if found == set(PANX_TYPES) else sorted(found)
    return TagSet(("O", *(start + entity_type for entity_type in order for start in ("B-", "I-"))))


def with_types(tags: Sequence[str], types: Mapping[str, str]) -> list[str]:
    """The same entities with the types that `types` gives; those of a type that becomes O are none. Two entities next
    to each other stay two.

    ``with_types(["I-A", "I-B", "B-C"], {"A": "X", "B": "X", "C": "O"}) -> ["I-X", "B-X", "O"]``
    """
    result = ["O"]
    for before, tag in pairwise(("O", *tags)):
        start, old = tag[:2], tag[2:]
        new = types.get(old, old)
        if start == "I-" and before[2:] != old and result[-1][2:] == new:  # it opened an entity only by its type
            start = "B-"
        result.append(tag if not old else "O" if new == "O" else start + new)
    return result[1:]


def spans(tags: Sequence[str]) -> list[Span]:
    """The entities of a sentence as seqeval's default mode finds them: an ``I-X`` that continues no X opens one. A word
    without annotation is outside of any.

    ``spans(["O", "I-ORG", "I-ORG", "B-ORG"]) -> [(1, 3, "ORG"), (3, 4, "ORG")]``
    """
    known = ["O" if tag == UNANNOTATED else tag for tag in tags]
    return [(first, last + 1, entity_type) for entity_type, first, last in get_entities(known)]
