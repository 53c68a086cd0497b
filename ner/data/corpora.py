"""Where sentences come from: files on disk, PAN-X and other data sets of the Hub, the built-in Swiss corpus.

Every source ends in the same `Dataset(tokens, ner_tags, lang, row)`, a split and language each; `row` is the sentence's
place in its source, from 0. Trade-off: nothing is cached but what the Hub holds under a commit. A changed file is read
again, which takes a second for 20,000 sentences.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, List, Value
from tabulate import tabulate

from ner.data import folders, hub, readers, sampling
from ner.data.sentences import LANGUAGE, Raw, Sentence
from ner.data.swiss import generate
from ner.options import Options, UserError, shown
from ner.tags import NO_LABEL, UNANNOTATED, TagSet, tag_set, with_types

logger = logging.getLogger(__name__)
PANX = "google/xtreme"
Corpus = dict[str, dict[str, Dataset]]  # split -> language -> sentences


def load(options: Options, wanted: dict[str, list[str]] | None = None,
         types: Mapping[str, str] | None = None) -> tuple[Corpus, TagSet]:
    """The splits that a run needs, sampled by `fractions`, and the tag set (the types of the training data, or `tags`).

    wanted: split -> languages, where it is not training, validation and test of `options`. Without a training split the
    tag set is that of what is there. types: of entities in the data -> those of the tag set, or O. ``UserError`` for
    what is missing, malformed, empty or tagged outside the set.
    """
    if wanted is None:
        wanted = {"train": options.train_langs, "validation": options.validation_langs or options.eval_langs,
                  "test": options.eval_langs}
    every = dict.fromkeys(lang for langs in wanted.values() for lang in langs)
    check_names(every)
    alone = len(every) == 1
    read_in = {split: {lang: read(options, lang, split, alone) for lang in langs} for split, langs in wanted.items()}
    if types:
        read_in = {split: retyped(langs, types) for split, langs in read_in.items()}
    typed = read_in.get("train") or next(iter(read_in.values()))
    tags = given_tags(options) or tag_set(types_of(typed))
    corpus = {split: {lang: sampled(dataset(raw, lang, tags), lang, options) for lang, raw in langs.items()}
              for split, langs in read_in.items()}
    return corpus, tags


def unlabelled(options: Options, langs: Iterable[str], tags: TagSet, split: str = "train",
               alone: bool = False) -> dict[str, Dataset]:
    """The sentences of a split, sampled by `fractions`, with label -1 for every word: whatever tags the source has are
    dropped as they come from its reader."""
    check_names(langs)
    return {lang: sampled(rows_of(without_tags(read(options, lang, split, alone)), lang, tags), lang, options)
            for lang in langs}


def without_tags(raw: Raw) -> Raw:
    return raw._replace(sentences=[sentence._replace(tags=[UNANNOTATED] * len(sentence.tokens))
                                   for sentence in raw.sentences])


def check_names(langs: Iterable[str]) -> None:
    for lang in langs:
        if not LANGUAGE.fullmatch(lang):
            raise UserError(f"{shown(lang)} cannot name a language; expected letters, digits and . + - _, as in pt-BR")


def types_of(langs: dict[str, Raw]) -> set[str]:
    """The types of entities in sentences of several languages."""
    return {tag[2:] for raw in langs.values() for sentence in raw.sentences for tag in sentence.tags
            if tag not in ("O", UNANNOTATED)}


def retyped(langs: dict[str, Raw], types: Mapping[str, str]) -> dict[str, Raw]:
    """Sentences with the types that ``--map`` gives; ``UserError`` for a type that none of them has."""
    there = types_of(langs)
    for old in (old for old in types if old not in there):
        raise UserError(f"--map: no type {shown(old)} in the data; there are {', '.join(sorted(there)) or 'none'}")
    return {lang: raw._replace(sentences=[sentence._replace(tags=with_types(sentence.tags, types))
                                          for sentence in raw.sentences]) for lang, raw in langs.items()}


def given_tags(options: Options) -> TagSet | None:
    if options.tags is None:
        return None
    try:
        return TagSet(tuple(options.tags))
    except ValueError as error:
        raise UserError(f"tags: {error}") from None


def read(options: Options, lang: str, split: str, alone: bool = True) -> Raw:
    """The sentences of one split and language, from the source that `options` name; `alone` where no other language
    is asked of it."""
    if options.data_dir is not None:
        path = folders.split_file(Path(options.data_dir), lang, split, hint_of(options, lang))
        return Raw(str(path), ":", readers.read_file(path, lang, options))
    if options.dataset == "swiss":
        if lang not in generate.LANGS:
            raise UserError(f"no language '{lang}' in the built-in corpus; there are {', '.join(generate.LANGS)}")
        pairs = generate.sentences(lang, split)
        return Raw(f"swiss {lang} {split}", ", sentence ", [Sentence(*pair, i) for i, pair in enumerate(pairs, 1)])
    name, prefix = (PANX, "PAN-X.") if options.dataset == "panx" else (options.dataset, "")
    return hub.read(hub.Asked(name, lang, split, options, prefix, alone))


def hint_of(options: Options, lang: str) -> str:
    """Which options to set where a language is missing that only their defaults name."""
    names = [name for name in ("train_langs", "eval_langs")
             if lang in getattr(options, name) and getattr(options, name) == getattr(Options(), name)]
    return f"; set --{' and --'.join(names)} (evaluate.py: --langs)" if names else ""


def dataset(raw: Raw, lang: str, tags: TagSet) -> Dataset:
    """`Dataset(tokens, ner_tags, lang, row)`; ``UserError`` where no word is annotated, and as `rows_of`."""
    rows = rows_of(raw, lang, tags)
    if all(label < 0 for labels in rows["ner_tags"] for label in labels):
        raise UserError(f"{raw.source}: no word is annotated; expected tags")
    return rows


def rows_of(raw: Raw, lang: str, tags: TagSet) -> Dataset:
    """The same, annotated or not; ``UserError`` names the place of a tag outside the set."""
    kept = [(row, sentence) for row, sentence in enumerate(raw.sentences) if sentence.tokens]
    if not kept:
        raise UserError(f"{raw.source}: holds no sentence; expected words and their tags")
    if len(kept) < len(raw.sentences):
        logger.warning("%s: left out %d sentences without words", raw.source, len(raw.sentences) - len(kept))
    columns: dict[str, list] = {"tokens": [], "ner_tags": [], "lang": [lang] * len(kept),
                                "row": [row for row, _ in kept]}
    for _, sentence in kept:
        unknown = next((i for i, tag in enumerate(sentence.tags) if tag not in tags.ids and tag != UNANNOTATED), None)
        if unknown is not None:
            raise UserError(f"{raw.place(sentence.line)}: the tag '{sentence.tags[unknown]}' of word {unknown + 1}, "
                            f"{sentence.tokens[unknown][:40]!r}, is not in the tag set {' '.join(tags.names)}")
        columns["tokens"].append(sentence.tokens)
        columns["ner_tags"].append(tags.labels(sentence.tags))
    return Dataset.from_dict(columns, features=features_of(tags))


def features_of(tags: TagSet) -> Features:
    return Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=list(tags.names))),
                     "lang": Value("string"), "row": Value("int64")})


def sampled(rows: Dataset, lang: str, options: Options) -> Dataset:
    if lang not in options.fractions:
        return rows
    kept = sampling.fraction(rows, options.fractions[lang], options.sample_seed)
    if not len(kept):
        raise UserError(f"fractions: {options.fractions[lang]} of {len(rows)} sentences of '{lang}' is none; raise it")
    return kept


def count_table(corpus: Corpus, tags: TagSet) -> str:
    """Sentences, words and entities by type, a line per split and language; and words without annotation, if any."""
    counted = {(split, lang): Counter(i for ids in rows["ner_tags"] for i in ids)
               for split, langs in corpus.items() for lang, rows in langs.items()}
    gaps = any(counts[NO_LABEL] for counts in counted.values())
    lines = [[split, lang, len(corpus[split][lang]), counts.total(), *[counts[NO_LABEL]] * gaps,
              *(counts[tags.ids[f"B-{kind}"]] for kind in tags.types)] for (split, lang), counts in counted.items()]
    return tabulate(lines, ["split", "lang", "sentences", "words", *["no tag"] * gaps, *tags.types], "plain")
