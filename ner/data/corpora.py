"""Where sentences come from: files on disk, PAN-X and other data sets of the Hub, the built-in Swiss corpus.

Every source ends in the same `Dataset(tokens, ner_tags, lang, row)`, a split and language each; `row` is the sentence's place
in its source. Nothing is cached here: a changed file is read anew, at about a second for 50,000 sentences.
"""

import logging
from collections import Counter
from pathlib import Path

from datasets import ClassLabel, Dataset, Features, List, Value, get_dataset_config_names, load_dataset
from datasets.exceptions import DatasetNotFoundError

from ner.data import readers, sampling
from ner.data.swiss import generate
from ner.options import Options, UserError
from ner.tags import TagSet, tag_set

logger = logging.getLogger(__name__)
SPLITS = ("train", "validation", "test")
PANX = "google/xtreme"
Corpus = dict[str, dict[str, Dataset]]  # split -> language -> sentences


def load(options: Options, wanted: dict[str, list[str]] | None = None) -> tuple[Corpus, TagSet]:
    """The splits that a run needs, sampled by `fractions`, and the tag set (the types of the training data, or `tags`).

    wanted: split -> languages, where it is not training, validation and test of `options`. Without a training split the
    tag set is that of what is there.
    """
    if wanted is None:
        wanted = {"train": options.train_langs, "validation": options.validation_langs or options.eval_langs,
                  "test": options.eval_langs}
    raw = {split: {lang: read(options, lang, split) for lang in langs} for split, langs in wanted.items()}
    typed = raw.get("train") or next(iter(raw.values()))
    tags = given_tags(options) or tag_set({tag[2:] for pairs in typed.values() for _, row in pairs for tag in row if tag != "O"})
    corpus = {split: {lang: sampled(dataset(pairs, lang, tags, f"{source_name(options)} {lang} {split}"), lang, options)
                      for lang, pairs in langs.items()} for split, langs in raw.items()}
    return corpus, tags


def given_tags(options: Options) -> TagSet | None:
    if options.tags is None:
        return None
    try:
        return TagSet(tuple(options.tags))
    except ValueError as error:
        raise UserError(f"tags: {error}") from None


def source_name(options: Options) -> str:
    return options.data_dir or options.dataset


def read(options: Options, lang: str, split: str) -> list[tuple[list[str], list[str]]]:
    """Words and tag names of each sentence of one split and language, from the source that `options` name."""
    if options.data_dir is not None:
        return from_files(Path(options.data_dir), lang, split)
    if options.dataset == "swiss":
        if lang not in generate.LANGS:
            raise UserError(f"the language '{lang}' is not in the built-in corpus; it has {', '.join(generate.LANGS)}")
        return generate.sentences(lang, split)
    if options.dataset == "panx":
        return from_hub(PANX, lang, split, options.revision, prefix="PAN-X.")
    return from_hub(options.dataset, lang, split, options.revision)


def from_files(folder: Path, lang: str, split: str) -> list[tuple[list[str], list[str]]]:
    if not folder.is_dir():
        raise UserError(f"data_dir: no folder {folder}; expected one with <lang>/train, dev and test files")
    there = readers.languages(folder)
    if lang not in there:
        raise UserError(f"{folder}: no language '{lang}'; there are {', '.join(there) or 'none'}")
    path = readers.find_file(folder, lang, split)
    if path is None:
        names = "dev or validation" if split == "validation" else split
        raise UserError(f"{folder / lang}: no file for the {split} split; expected {names} [.txt .tsv .conll .iob2 .jsonl]")
    return [(sentence.tokens, sentence.tags) for sentence in readers.read_file(path, lang)]


def from_hub(name: str, lang: str, split: str, revision: str | None, prefix: str = "") -> list[tuple[list[str], list[str]]]:
    """A split from any data set with a list of words and a list of ClassLabels: one configuration a language, or a
    ``lang``/``langs`` column. Data only: `datasets` runs no loading scripts any more."""
    try:
        configs = get_dataset_config_names(name, revision=revision)
        config = next((c for c in configs if c in (f"{prefix}{lang}", lang)), None)
        if config is None and (prefix or len(configs) > 1):
            langs = sorted(c.removeprefix(prefix) for c in configs if c.startswith(prefix))
            raise UserError(f"{name}: no language '{lang}'; there are {', '.join(langs)}")
        rows = load_dataset(name, config or configs[0], split=split, revision=revision)
    except (DatasetNotFoundError, ConnectionError, OSError, ValueError) as error:
        reason = (str(error).strip().split("\n") or [""])[0]
        raise UserError(f"data set {name}, language '{lang}', {split}: not to be had ({type(error).__name__}: {reason})") from None
    words, tags = columns(name, rows.features)
    if config is None:
        rows = of_language(name, rows, lang)
    names = rows.features[tags].feature.names
    return [(list(tokens), [names[i] for i in ids]) for tokens, ids in zip(rows[words], rows[tags])]


def columns(name: str, features: Features) -> tuple[str, str]:
    """The names of the columns with words (a list of strings) and tags (a list of ClassLabels)."""
    lists = {column: feature.feature for column, feature in features.items() if isinstance(feature, List)}
    tags = [column for column, inner in lists.items() if isinstance(inner, ClassLabel)]
    words = [column for column, inner in lists.items() if inner == Value("string") and column not in ("langs", "lang")]
    if "ner_tags" in tags:
        tags = ["ner_tags"]
    if "tokens" in words:
        words = ["tokens"]
    if len(tags) != 1 or len(words) != 1:
        raise UserError(f"{name}: expected one column with lists of words and one with lists of ClassLabel tags, "
                        f"found {', '.join(f'{column}: {feature}' for column, feature in features.items())}")
    return words[0], tags[0]


def of_language(name: str, rows: Dataset, lang: str) -> Dataset:
    column = next((c for c in ("lang", "langs", "language") if c in rows.column_names), None)
    if column is None:
        raise UserError(f"{name}: no way to tell languages apart; expected one configuration a language or a lang column")
    langs = [value if isinstance(value, str) else (value or [""])[0] for value in rows[column]]
    chosen = [i for i, value in enumerate(langs) if value == lang]
    if not chosen:
        raise UserError(f"{name}: no language '{lang}'; there are {', '.join(sorted(set(langs)))}")
    return rows.select(chosen)


def dataset(pairs: list[tuple[list[str], list[str]]], lang: str, tags: TagSet, source: str) -> Dataset:
    """`Dataset(tokens, ner_tags, lang, row)`; ``UserError`` names the sentence with a tag outside the set."""
    kept = [(row, words, names) for row, (words, names) in enumerate(pairs) if words]
    if len(kept) < len(pairs):
        logger.warning("%s: left out %d sentences without words", source, len(pairs) - len(kept))
    if not kept:
        raise UserError(f"{source}: holds no sentence")
    for row, words, names in kept:
        unknown = next((name for name in names if name not in tags.ids), None)
        if unknown is not None or len(words) != len(names):
            problem = f"{len(words)} words but {len(names)} tags" if unknown is None else (
                f"the tag '{unknown}' is not among those of the training data ({' '.join(tags.names)}); "
                f"name all with --tags")
            raise UserError(f"{source}, sentence {row + 1}: {problem}")
    columns = {"tokens": [words for _, words, _ in kept], "ner_tags": [[tags.ids[n] for n in names] for _, _, names in kept],
               "lang": [lang] * len(kept), "row": [row for row, _, _ in kept]}
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=list(tags.names))),
                         "lang": Value("string"), "row": Value("int64")})
    return Dataset.from_dict(columns, features=features)


def sampled(rows: Dataset, lang: str, options: Options) -> Dataset:
    if lang not in options.fractions:
        return rows
    kept = sampling.fraction(rows, options.fractions[lang], options.sample_seed)
    if not len(kept):
        raise UserError(f"fractions: {options.fractions[lang]} of {len(rows)} sentences of '{lang}' is none; raise it")
    return kept


def table(corpus: Corpus, tags: TagSet) -> str:
    """Sentences, words and entities by type, a line a split and language."""
    lines = [f"{'split':<11}{'lang':<6}{'sentences':>10}{'words':>9}" + "".join(f"{kind:>8}" for kind in tags.types)]
    for split, langs in corpus.items():
        for lang, rows in langs.items():
            counts = Counter(i for ids in rows["ner_tags"] for i in ids)
            begins = "".join(f"{counts[tags.ids[f'B-{kind}']]:>8}" for kind in tags.types)
            lines.append(f"{split:<11}{lang:<6}{len(rows):>10}{sum(counts.values()):>9}{begins}")
    return "\n".join(lines)
