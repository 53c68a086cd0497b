"""The built-in corpus in de, fr, it and en, so that the project works on a machine without the Hub.

Trade-off. Training sentences are generated from hand-written patterns, filled with Faker's names, CLDR's places and
hand-written lists: unlimited and free of licence questions, but narrower than real text. So validation and test
sentences are not generated: they are natural sentences, written and tagged by hand, that share no pattern with the
training side.

Files hold a sentence a line, words separated by one space; ``[PER Ada Lovelace ]`` marks an entity, ``{town}`` a slot.
"""

import functools
import random
import re
from collections.abc import Callable
from pathlib import Path

from babel import Locale
from faker import Faker

LANGS = ("de", "fr", "it", "en")
FAKER = {"de": "de_CH", "fr": "fr_CH", "it": "it_IT", "en": "en_GB"}  # Faker's it_CH falls back to English
TRAIN_SENTENCES = 10_000
FOLDER = Path(__file__).parent
SLOT = re.compile(r"\{(\w+)\}")
PLAIN_NAME = re.compile(r"[^\W\d_][^\d()\[\],/]*")

Tagged = tuple[list[str], list[str]]


def parse(line: str) -> Tagged:
    """Words and tags of a marked line: ``Ada [LOC St. Gallen ]`` -> ``[Ada, St., Gallen], [O, B-LOC, I-LOC]``."""
    words, tags, kind, begun = [], [], None, False
    for word in line.split(" "):
        if word in ("[PER", "[ORG", "[LOC"):
            kind, begun = word[1:], False
        elif word == "]":
            kind = None
        else:
            words.append(word)
            tags.append("O" if kind is None else f"{'I' if begun else 'B'}-{kind}")
            begun = True
    return words, tags


def lines(lang: str, name: str) -> list[str]:
    """The lines of a corpus file but comments."""
    text = (FOLDER / f"{lang}.{name}.txt").read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line and not line.startswith("# ")]


def places(lang: str) -> list[str]:
    """Countries and cities in the language, from CLDR, those that are plain names."""
    locale = Locale(lang)
    countries = [name for code, name in sorted(locale.territories.items())
                 if code.isalpha() and code not in ("ZZ", "XA", "XB")]
    cities = [zone["city"] for _, zone in sorted(locale.time_zones.items()) if "city" in zone]
    return [name for name in countries + cities if PLAIN_NAME.fullmatch(name)]


def generate(lang: str, count: int = TRAIN_SENTENCES) -> list[Tagged]:
    """`count` different training sentences, the same on every machine: all patterns in turn, slots drawn at random."""
    rng, faker = random.Random(0), Faker(FAKER[lang])
    faker.seed_instance(0)
    lists = {"town": lines(lang, "towns"), "landmark": lines(lang, "landmarks"), "org": lines(lang, "organisations"),
             "place": places(lang), "month": list(Locale(lang).months["format"]["wide"].values())}
    draw: dict[str, Callable[[], str]] = {name: functools.partial(rng.choice, values) for name, values in lists.items()}
    draw |= {"first": faker.first_name, "last": faker.last_name, "number": lambda: str(rng.randint(2, 99)),
             "year": lambda: str(rng.randint(1850, 2026)), "day": lambda: str(rng.randint(1, 31))}
    patterns = lines(lang, "patterns")
    found: dict[str, None] = {}
    while len(found) < count:
        for pattern in patterns:
            found[SLOT.sub(lambda slot: draw[slot[1]](), pattern)] = None
    return [parse(line) for line in list(found)[:count]]


def sentences(lang: str, split: str) -> list[Tagged]:
    """The sentences of a split: generated for training, read for validation and test."""
    return generate(lang) if split == "train" else [parse(line) for line in lines(lang, split)]
