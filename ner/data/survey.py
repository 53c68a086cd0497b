"""The data of several runs, read once for all of them, and counted.

A study learns here, before its first run, that every language and enough sentences are there; a report shows what it
was trained and tested on, and how much of the test set is in the training set. Trade-off: a run reads its data once
more (the chapter's 40,000 sentences: 10 s; one whose training data lack a type of the others, twice), and holds them in
memory meanwhile.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import NamedTuple

from datasets import Dataset

from ner.data import corpora
from ner.data.corpora import Corpus
from ner.options import Options, with_role
from ner.tags import TagSet


class Survey(NamedTuple):
    """Runs on the same data, and these data in all languages that any of the runs names; the split `unlabelled`: the
    training sentences of `pseudo_langs`."""

    runs: list[Options]
    corpus: Corpus
    tags: TagSet


def load(runs: Sequence[Options]) -> list[Survey]:
    """One `Survey` a source; ``UserError`` where something is missing."""
    groups: dict[str, list[Options]] = {}
    for options in runs:
        groups.setdefault(repr(with_role(asdict(options), "of_data")), []).append(options)
    result = []
    for group in groups.values():
        wanted = {"train": union(options.train_langs for options in group),
                  "validation": union(options.validation_langs or options.eval_langs for options in group),
                  "test": union(options.eval_langs for options in group)}
        corpus, tags = corpora.load(group[0], wanted)
        if pseudo_langs := union(options.pseudo_langs or () for options in group):
            corpus["unlabelled"] = corpora.unlabelled(group[0], pseudo_langs, tags)
        result.append(Survey(group, corpus, tags))
    return result


def union(parts: Iterable[Iterable[str]]) -> list[str]:
    """All of them once, in order of appearance."""
    return list(dict.fromkeys(item for part in parts for item in part))


class Row(NamedTuple):
    """One split and language; `repeated`: other split -> sentences whose exact words it has in the same language."""

    split: str
    lang: str
    sentences: int
    words: int
    entities: dict[str, int]
    repeated: dict[str, int]


def rows(corpus: Corpus, tags: TagSet) -> list[Row]:
    """Sentences, words and entities by type of every split and language, and sentences that an earlier split has."""
    result = []
    seen: dict[tuple[str, str], set[tuple[str, ...]]] = {}
    for split, langs in corpus.items():
        for lang, sentences in langs.items():
            words = [tuple(tokens) for tokens in sentences["tokens"]]
            repeated = {earlier: sum(sentence in known for sentence in words)
                        for (earlier, of_lang), known in seen.items() if of_lang == lang}
            result.append(Row(split, lang, len(words), sum(map(len, words)), entities(sentences, tags), repeated))
            seen[split, lang] = set(words)
    return result


def entities(sentences: Dataset, tags: TagSet) -> dict[str, int]:
    """B- tags by type, as the chapter counts them."""
    counts = Counter(label for labels in sentences["ner_tags"] for label in labels)
    return {kind: counts[tags.ids[f"B-{kind}"]] for kind in tags.types}
