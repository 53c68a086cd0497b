"""The built-in corpus is the same everywhere, well-formed, and no toy: what is tested is not what was generated."""

import os
import re
import subprocess
import sys

import pytest

from ner.data.swiss import generate
from ner.tags import TagSet
from tests.helpers.paths import ROOT

TAGS = TagSet(("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"))
FILES = ("patterns", "validation", "test")
SLOTS = {"town", "landmark", "org", "place", "month", "first", "last", "number", "year", "day"}
MARKED = re.compile(r"(?:(?:\[(?:PER|ORG|LOC)(?: [^\s\[\]]+)+ \]|[^\s\[\]]+)(?: (?=.)|$))+")
each_language = pytest.mark.parametrize("lang", generate.LANGS)


@pytest.fixture(scope="module")
def training():
    return {lang: generate.sentences(lang, "train") for lang in generate.LANGS}


def entities(words: list[str], tags: list[str]) -> list[tuple[int, int, str]]:
    """(start, end, type) of well-formed IOB2."""
    starts = [i for i, tag in enumerate(tags) if tag.startswith("B-")]
    ends = [next((j for j in range(i + 1, len(tags)) if not tags[j].startswith("I-")), len(tags)) for i in starts]
    return [(start, end, tags[start][2:]) for start, end in zip(starts, ends)]


def names(sentences) -> set[tuple[str, str]]:
    """Distinct entities, by words and type."""
    return {(" ".join(words[a:b]), kind) for words, tags in sentences for a, b, kind in entities(words, tags)}


def test_parse():
    assert generate.parse("Ada [PER Li ] [LOC St. Gallen ] .") == (
        ["Ada", "Li", "St.", "Gallen", "."], ["O", "B-PER", "B-LOC", "I-LOC", "O"])
    assert generate.parse("[ORG A ] [ORG B C ]") == (["A", "B", "C"], ["B-ORG", "B-ORG", "I-ORG"])


@each_language
def test_files_are_marked_without_a_slip(lang):
    for name in FILES:
        for line in generate.lines(lang, name):
            assert MARKED.fullmatch(line), f"{lang}.{name}: {line}"
            slots = set(re.findall(r"\{([^}]*)\}", line))
            assert slots <= (SLOTS if name == "patterns" else set()), line
            assert line.count("{") == line.count("}") == len(re.findall(r"\{\w+\}", line)), line
    for name in ("towns", "landmarks", "organisations"):
        values = generate.lines(lang, name)
        assert len(set(values)) == len(values) >= 100
        assert all(re.fullmatch(r"[^\s\[\]{}]+( [^\s\[\]{}]+)*", value) for value in values)


@pytest.mark.parametrize("slip", ["[PER Ada", "Ada ]", "[PER ] .", "[PER a [LOC b ] ]", "a  b", "a ", " a", "[MISC a ]",
                                  "[PER a] .", ""])
def test_the_check_of_the_markup_sees_slips(slip):
    assert not MARKED.fullmatch(slip)


@each_language
def test_sizes(lang):
    assert len(set(generate.lines(lang, "patterns"))) == len(generate.lines(lang, "patterns")) >= 60
    assert len(set(generate.lines(lang, "test"))) == len(generate.lines(lang, "test")) == 80
    assert len(set(generate.lines(lang, "validation"))) == len(generate.lines(lang, "validation")) == 40


@each_language
def test_tags_are_well_formed(lang, training):
    for words, tags in [*training[lang], *generate.sentences(lang, "validation"), *generate.sentences(lang, "test")]:
        assert words and all(words) and len(words) == len(tags) and set(tags) <= set(TAGS.names)
        assert not any(re.search(r"[\[\]{}\s]", word) for word in words), words
        assert all(tag[0] != "I" or before[2:] == tag[2:] for before, tag in zip(["O", *tags], tags)), (words, tags)


@each_language
def test_training_sentences_differ(lang, training):
    assert len({tuple(words) for words, _ in training[lang]}) == len(training[lang]) == generate.TRAIN_SENTENCES
    assert {kind for _, kind in names(training[lang])} == {"PER", "ORG", "LOC"}
    assert any(set(tags) == {"O"} for _, tags in training[lang])


@each_language
def test_a_shorter_corpus_is_the_beginning_of_a_longer_one(lang, training):
    assert generate.generate(lang, 700) == training[lang][:700]


@pytest.mark.slow
def test_the_same_in_every_process(training):
    program = "from ner.data.swiss import generate as g; print([g.sentences(lang, 'train') for lang in g.LANGS])"
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONIOENCODING": "utf-8"}
    other = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True,
                           encoding="utf-8")
    assert other.stdout == f"{[training[lang] for lang in generate.LANGS]}\n", other.stderr


def test_first_lines(training):
    """The first pattern of each language; where Faker or Babel draw other names, this says so."""
    assert [" ".join(training[lang][0][0]) for lang in generate.LANGS] == [
        "Bei einem Unfall auf der Knechtstrasse in La Spezia sind 51 Personen leicht verletzt worden .",
        "Le maire Fabienne Masseron a inauguré mercredi la nouvelle crèche de Belfort , après 99 mois de travaux .",
        "Ieri sera a York un incendio ha distrutto il tetto di una stalla ; nessun ferito .",
        "Rose petals covered the steps of the chapel .",
    ]


def skeleton(line: str) -> str:
    """What is left of a sentence or pattern without its entities, names of slots and numbers."""
    line = re.sub(r"\[(\w+) [^\]]*\]", r"[\1]", line)
    return re.sub(r"\{\w+\}|\d+", "#", line).casefold()


@each_language
def test_no_pattern_on_both_sides(lang):
    sides = [{skeleton(line) for line in generate.lines(lang, name)} for name in FILES]
    assert not sides[0] & (sides[1] | sides[2])
    assert not sides[1] & sides[2]


@each_language
def test_at_most_three_test_entities_in_ten_are_known(lang, training):
    known, tested = ({name for name, _ in names(side)} for side in (training[lang], generate.sentences(lang, "test")))
    assert len(tested) >= 80
    assert len(tested & known) <= 0.3 * len(tested), f"{len(tested & known)} of {len(tested)}"


def look_up(words: list[str], known: dict[str, str], longest: int) -> set[tuple[int, int, str]]:
    """Tags by memory: at every word the longest known name, in the type it had most often."""
    found, start = set(), 0
    while start < len(words):
        ends = range(min(start + longest, len(words)), start, -1)
        end = next((end for end in ends if " ".join(words[start:end]) in known), None)
        if end:
            found.add((start, end, known[" ".join(words[start:end])]))
        start = end or start + 1
    return found


@each_language
def test_memory_alone_does_not_solve_it(lang, training):
    counts: dict[str, dict[str, int]] = {}
    for words, tags in training[lang]:
        for start, end, kind in entities(words, tags):
            types = counts.setdefault(" ".join(words[start:end]), {})
            types[kind] = types.get(kind, 0) + 1
    known = {name: max(types, key=types.get) for name, types in counts.items()}
    longest = max(name.count(" ") + 1 for name in known)
    gold, found = ([], [])
    for i, (words, tags) in enumerate(generate.sentences(lang, "test")):
        gold += [(i, *entity) for entity in entities(words, tags)]
        found += [(i, *entity) for entity in look_up(words, known, longest)]
    f1 = 2 * len(set(gold) & set(found)) / (len(gold) + len(found))
    assert 0.02 < f1 < 0.60, f1
    print(f"{lang}: look-up F1 {f1:.3f}, {len(gold)} entities")
