"""Data sets in the Hub's layout, from the Hub or a local folder: where a language and a split are in them.

Only data are read: `datasets` no longer runs loading scripts. Trade-off: nothing is cached but what the Hub holds under
a commit, because `datasets` itself serves old rows of a local Parquet file that has changed.
"""

import logging
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from datasets import Dataset, disable_progress_bars, get_dataset_config_names, get_dataset_split_names, load_dataset
from datasets.exceptions import DatasetGenerationError
from datasets.inspect import SplitsNotFoundError

from ner.data import hub_columns
from ner.data.hub_card import LABEL_FILES, Repository
from ner.data.sentences import LANGUAGE, Raw, Sentence
from ner.options import Options, UserError
from ner.schemes import TagError, to_iob2

logger = logging.getLogger(__name__)
SPLITS = {"train": ("train", "training"), "validation": ("validation", "valid", "val", "dev", "development", "testa"),
          "test": ("test", "testing", "testb")}  # the first that is there
SHARE = 10  # a split that is missing takes one sentence in ten of the training split
ROWS = re.compile(r"[.](parquet|arrow|jsonl?|csv)([.](gz|xz|bz2|zst))?$")
SHARD = re.compile(r"-\d{5}-of-\d{5}.*$")
ALIASES = [alias for aliases in SPLITS.values() for alias in aliases]
ALIAS = "|".join(ALIASES)
IN_A_NAME = re.compile(rf"(?P<split>{ALIAS})[-_.](?P<lang>.+)|(?P<lang2>.+)[-_.](?P<split2>{ALIAS})")  # train_de
CODE = re.compile("[a-z]{2,3}([-_.][A-Za-z]+)?")


class Asked(NamedTuple):
    """One split and language of a data set; `alone` where no other language is asked of it."""

    name: str
    lang: str
    split: str
    options: Options
    prefix: str = ""
    alone: bool = False

    @property
    def value(self) -> str:
        """What the data set calls the language."""
        return self.options.languages.get(self.lang, self.lang)

    @property
    def source(self) -> str:
        return f"{self.name} {self.lang} {self.split}"


def read(asked: Asked) -> Raw:
    """A split and language of any data set with a list of words and a list of tags in each row."""
    disable_progress_bars()  # one for each split and language
    logging.getLogger("datasets.packaged_modules").setLevel(logging.CRITICAL)  # they also raise what they log
    try:
        found, names = rows_of(asked)
    except UserError:
        raise
    except Exception as error:  # `datasets` raises many kinds; all of them mean the same here
        if isinstance(error, (DatasetGenerationError, SplitsNotFoundError)):
            error = error.__cause__ or error
        reason = ": ".join(filter(None, (type(error).__name__, str(error).strip().split("\n")[0][:200])))
        if "corresponds to no data" in reason:
            raise UserError(f"{asked.source}: holds no sentence; expected words and their tags") from None
        hint = "; try --revision refs/convert/parquet, its rows without the script" * ("scripts are no" in reason)
        raise UserError(f"data set {asked.name}, language '{asked.lang}', {asked.split}: cannot be loaded "
                        f"({reason}){hint}") from None
    raw = Raw(asked.source, ", row ", [])
    for number, words, labels in found:
        try:
            raw.sentences.append(Sentence(*hub_columns.sentence(words, labels, names), number + 1))
        except ValueError as error:
            raise UserError(f"{raw.place(number + 1)}: {error}") from None
    return converted(raw, asked.options.tag_scheme or hub_columns.scheme_of(names))


def rows_of(asked: Asked) -> tuple[list[tuple[int, list | None, list | None]], dict[int, str]]:
    """The rows asked for, as (number in the data set's split, words, labels), and the names of the labels."""
    repository = Repository(asked.name, asked.options.revision)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as fresh:
        cache = fresh if repository.folder else None  # the lasting cache does not see that a local file changed
        place = place_of(asked, repository, cache)
        missing = [other for other in SPLITS if not find_split(asked, place.splits, other)]
        drawn = asked.options.split_seed is not None and "train" not in missing
        split = find_split(asked, place.splits, "train" if drawn and asked.split in missing else asked.split)
        if split is None:
            raise no_split(asked, place.splits, missing)
        files = {"data_files": place.files} if place.files else {}
        rows = load_dataset(asked.name, place.config, split=split, revision=asked.options.revision, cache_dir=cache,
                            **files)
        words, tags = hub_columns.columns(asked.name, rows.features, asked.options)
        names = hub_columns.names_in(rows.features, tags)
        if names is None:
            names = repository.label_names(tags, asked.value)
        if names is None:
            raise UserError(f"{asked.name}: the numbers in {tags} have no names; expected class labels in its card, or "
                            """a label.json such as {"O": 0, "B-PER": 1}""")
        whole = place.whole or split not in ALIASES
        numbers = range(len(rows)) if whole else numbers_of_language(asked, rows, repository, place)
        if drawn and missing and asked.split in ("train", *missing):
            numbers = part(asked, numbers, missing)
        chosen = rows.select(numbers)
        return list(zip(numbers, chosen[words], chosen[tags], strict=True)), names


class Place(NamedTuple):
    """Where the rows of a language are: in a configuration, or in files (split -> paths) that are named after it.

    whole: all rows there are of the language. in_names: the languages in the names of all files.
    """

    config: str | None
    files: dict[str, list[str]]
    splits: list[str]
    whole: bool
    in_names: list[str]


def place_of(asked: Asked, repository: Repository, cache: str | None) -> Place:
    configs = get_dataset_config_names(asked.name, revision=asked.options.revision)
    in_names: list[str] = []
    config = next((c for c in (f"{asked.prefix}{asked.value}", asked.value) if c in configs), None)
    if config is None and len(configs) == 1 and not repository.card[0].get("configs"):
        in_names, files = files_of_language(repository.files, asked)
        if files:
            return Place(None, files, list(files), True, in_names)
    if config is None and (asked.prefix or len(configs) > 1):
        raise no_language(asked, [name.removeprefix(asked.prefix) for name in in_names or configs
                                  if name.startswith(asked.prefix)])
    splits = get_dataset_split_names(asked.name, config or configs[0], revision=asked.options.revision, cache_dir=cache)
    return Place(config or configs[0], {}, splits, config is not None, in_names)


def files_of_language(files: Sequence[str], asked: Asked) -> tuple[list[str], dict[str, list[str]]]:
    """The languages that files or their folders are named after, and the files of one of them by split:
    ``de/train.parquet``, ``train/train_de.jsonl``, ``de-train.json``."""
    languages: list[str] = []
    chosen: dict[str, list[str]] = {}
    unnamed: list[str] = []
    for file in filter(ROWS.search, files):
        if PurePosixPath(file).name in LABEL_FILES:
            continue
        *folders, stem = PurePosixPath(ROWS.sub("", file)).parts
        stem = SHARD.sub("", stem)
        called = IN_A_NAME.fullmatch(stem)
        own = (called["lang"] or called["lang2"]) if called else None
        named = [own] if own and CODE.fullmatch(own) else [
            part for part in folders if part not in (*ALIASES, "data", "dataset")]
        languages += named[:1]
        if {asked.value, f"{asked.prefix}{asked.value}"} & {own, *folders}:
            parts = [(called["split"] or called["split2"]) if called else stem, *reversed(folders)]
            split = next((s for part in parts for s, aliases in SPLITS.items() if part in aliases), None)
            (chosen.setdefault(split, []) if split else unnamed).append(file)
    chosen = chosen or ({"train": unnamed} if unnamed else {})
    endings = Counter(PurePosixPath(file).suffixes[-1] for found in chosen.values() for file in found)
    usual = endings.most_common(1)[0][0] if endings else ""  # one reader takes all of them, as in `datasets`
    kept = {split: [file for file in found if file.endswith(usual)] for split, found in chosen.items()}
    return list(dict.fromkeys(languages)), {split: found for split, found in kept.items() if found}


def find_split(asked: Asked, splits: Sequence[str], split: str) -> str | None:
    """What the data set calls a split: ``train_de`` where the language is part of its name, otherwise ``train``."""
    value = asked.value.replace("-", "_")
    own = [name for alias in SPLITS[split] for name in (f"{alias}_{value}", f"{alias}.{value}", f"{value}_{alias}",
                                                        f"{value}.{alias}")]
    return next((name for name in (*own, *SPLITS[split]) if name in splits), None)


def no_split(asked: Asked, splits: Sequence[str], missing: Sequence[str]) -> UserError:
    named = [called["lang"] or called["lang2"] for called in map(IN_A_NAME.fullmatch, splits) if called]
    if len(missing) == len(SPLITS) and named:
        return no_language(asked, named)
    hint = ""
    if asked.split != "train" and "train" not in missing:
        hint = f", or --split_seed N to draw one sentence in {SHARE} of the training split for it"
    return UserError(f"data set {asked.name}, language '{asked.lang}': no {asked.split} split among "
                     f"{', '.join(splits)[:200]}; expected one of that name{hint}")


def no_language(asked: Asked, there: Iterable[str]) -> UserError:
    there = sorted(set(filter(None, there)))
    listed = [lang for lang in there if LANGUAGE.fullmatch(lang)]
    text = f"{asked.name}: no language '{asked.value}'"
    text += f"; there are {', '.join(listed)}" if listed else ", nor any other, in a configuration, folder or column"
    other = [lang for lang in there if not CODE.fullmatch(lang) and lang.isprintable()]
    if not listed and other:
        text = f"{asked.name}: no language '{asked.value}'; there are {', '.join(repr(lang[:40]) for lang in other)}"
    if other:
        text += f"; say which of them it is, as in --languages {asked.lang}={other[0][:40]!r}"
    return UserError(text)


def numbers_of_language(asked: Asked, rows: Dataset, repository: Repository, place: Place) -> Sequence[int]:
    """The rows of a language where neither a configuration nor a split is named after it."""
    column = hub_columns.column_of_language(rows.column_names)
    if column is not None:
        numbers, there = hub_columns.of_language(rows, column, asked.value)
        if not numbers:
            raise no_language(asked, there)
        return numbers
    in_names, card = place.in_names, repository.languages
    if len(in_names) > 1 or asked.value != asked.lang or in_names and re.fullmatch("[a-z]{2}", in_names[0]):
        raise no_language(asked, in_names)
    by_hand = f"--languages {asked.lang}={place.config}"
    if len(card) > 1:
        raise UserError(f"{asked.name}: its card names {', '.join(card)[:200]}, and nothing says which rows are "
                        f"'{asked.lang}'; expected a configuration, folder, split or lang column for it, or {by_hand} "
                        "to take all rows as that")
    if card and card[0].lower() not in (asked.lang.lower(), asked.lang.lower().split("-")[0]):
        raise UserError(f"{asked.name}: no language '{asked.lang}'; its card says that all of it is {card[0]}, so "
                        f"expected --train_langs {card[0]} --eval_langs {card[0]}")
    if not card and not asked.alone:
        raise UserError(f"{asked.name}: nothing says which language it is in (no configuration, folder, split, column "
                        f"or card); expected one language, as in --train_langs {asked.lang} --eval_langs {asked.lang}, "
                        f"or {by_hand}")
    logger.warning("%s: all of it is taken as '%s', %s", asked.source, asked.lang,
                   "which its card names" if card else "the one language asked for")
    return range(len(rows))


def part(asked: Asked, numbers: Sequence[int], missing: Sequence[str]) -> list[int]:
    """The training sentences that a split takes, where some splits are `missing`; in the order of the data set."""
    share = len(numbers) // SHARE
    if not missing:
        return list(numbers)
    if not share:
        raise UserError(f"{asked.name}: {len(numbers)} training sentences of '{asked.lang}' are too few to set some "
                        f"aside for {' and '.join(missing)}; expected {SHARE} or more")
    order = np.random.default_rng(asked.options.split_seed).permutation(len(numbers))
    begin = share * (missing.index(asked.split) if asked.split in missing else len(missing))
    taken = order[begin:begin + share] if asked.split in missing else order[begin:]
    if asked.split in missing:
        logger.warning("%s: %d of the %d training sentences, drawn with split_seed %d", asked.source, share,
                       len(numbers), asked.options.split_seed)
    return [numbers[i] for i in sorted(taken.tolist())]


def converted(raw: Raw, scheme: str | None) -> Raw:
    """IOB2 whatever the scheme, with a notice, as in files."""
    try:
        rows, notice = to_iob2([sentence.tags for sentence in raw.sentences], scheme)
    except TagError as error:
        raise UserError(f"{raw.place(raw.sentences[error.sentence].line)}: {error}") from None
    if notice:
        logger.warning("%s: %s", raw.source, notice)
    return raw._replace(sentences=[s._replace(tags=tags) for s, tags in zip(raw.sentences, rows, strict=True)])
