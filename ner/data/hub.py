"""Data sets in the Hub's layout, from the Hub or a local folder: configurations, columns, splits, cards.

Data only: `datasets` runs no loading scripts any more. Trade-off: nothing is cached but what the Hub holds under a
commit, because `datasets` itself serves old rows of a local Parquet file that has changed.
"""

import logging
import tempfile
from pathlib import Path

import yaml
from datasets import (
    ClassLabel,
    Dataset,
    Features,
    List,
    Value,
    disable_progress_bars,
    get_dataset_config_names,
    load_dataset,
)
from datasets.exceptions import DatasetGenerationError
from huggingface_hub import DatasetCard

from ner.data.sentences import LANGUAGE, NOT_IN_A_WORD, Raw, Sentence
from ner.options import UserError
from ner.schemes import iob1_to_iob2, is_iob1
from ner.tags import check_tag

logger = logging.getLogger(__name__)
LANG_COLUMNS = ("lang", "langs", "language")
MAX_CARD_BYTES, MAX_CARD_VALUES = 1 << 23, 10**6


def read(name: str, lang: str, split: str, revision: str | None, prefix: str = "") -> Raw:
    """A split of any data set with a list of words and a list of ClassLabels: one configuration a language, or a
    ``lang``/``langs`` column.

    IOB1 becomes IOB2 with a notice, as in files.
    """
    disable_progress_bars()  # one a split and language
    logging.getLogger("datasets.packaged_modules").setLevel(logging.CRITICAL)  # what they complain of, they raise, too
    try:
        if Path(name).is_dir():
            check_card(Path(name))
        configs = get_dataset_config_names(name, revision=revision)
        config = next((c for c in (f"{prefix}{lang}", lang) if c in configs), None)
        if config is None and (prefix or len(configs) > 1):
            langs = [c.removeprefix(prefix) for c in configs if c.startswith(prefix)]
            raise UserError(f"{name}: no language '{lang}'; there are {known(langs)}")
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as fresh:
            cache = fresh if Path(name).exists() else None  # the lasting cache does not see that a local file changed
            rows = load_dataset(name, config or configs[0], split=split, revision=revision, cache_dir=cache)
            words, tags = columns(name, rows.features)
            numbers = of_language(name, rows, lang) if config is None else range(len(rows))
            found = list(zip(numbers, rows.select(numbers)[words], rows.select(numbers)[tags], strict=True))
    except UserError:
        raise
    except Exception as error:  # `datasets` raises many kinds; all of them mean the same here
        if isinstance(error, DatasetGenerationError):
            error = error.__cause__ or error
        reason = (str(error).strip().split("\n") or [""])[0][:200]
        raise UserError(f"data set {name}, language '{lang}', {split}: not to be had ({type(error).__name__}: {reason})"
                        ) from None
    names = rows.features[tags].feature.names
    raw = Raw(f"{name} {lang} {split}", ", row ", [])
    for number, tokens, ids in found:
        try:
            raw.sentences.append(Sentence(*hub_row(tokens, ids, names), number + 1))
        except ValueError as error:
            raise UserError(f"{raw.place(number + 1)}: {error}") from None
    if is_iob1(sentence.tags for sentence in raw.sentences):
        logger.warning("%s: the tags are IOB1 and were converted to IOB2", raw.source)
        raw = raw._replace(sentences=[s._replace(tags=iob1_to_iob2(s.tags)) for s in raw.sentences])
    return raw


def check_card(folder: Path) -> None:
    """A data set's card may name files anywhere, but who names a folder has not asked for the network; and it may be a
    bomb: a few lines of aliases that stand for more values than fit into memory."""
    card, bare, described = folder / "README.md", folder / ".huggingface.yaml", []
    for path in filter(Path.is_file, (card, bare)):
        if path.stat().st_size > MAX_CARD_BYTES:
            raise UserError(f"{path}: is larger than {MAX_CARD_BYTES:,} bytes; expected a data set's card")
        described.append(DatasetCard.load(path).data.to_dict() if path == card
                         else yaml.safe_load(path.read_text(encoding="utf-8")))
    if written_out(described, {}) > MAX_CARD_VALUES:
        raise UserError(f"{folder}: its card has more than {MAX_CARD_VALUES:,} values; expected a data set's card")
    if any("://" in str(one.get("configs")) for one in described if isinstance(one, dict)):
        raise UserError(f"{folder}: its card names files on other machines; expected files in this folder")


def written_out(value, known: dict[int, int]) -> int:
    """How many values there are in YAML's lists and mappings; what an alias repeats counts each time."""
    if id(value) not in known:
        parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
        known[id(value)] = 1 + sum(written_out(part, known) for part in parts)
    return known[id(value)]


def known(langs: list[str]) -> str:
    return ", ".join(sorted({lang for lang in langs if lang and LANGUAGE.fullmatch(lang)}))


def hub_row(words: list | None, ids: list | None, names: list[str]) -> tuple[list[str], list[str]]:
    """Words and tags of a row; ValueError for what no file could hold either, and for tags that are withheld (-1)."""
    words, ids = words or [], ids or []
    if len(words) != len(ids):
        raise ValueError(f"{len(words)} words but {len(ids)} tags; expected one a word")
    for word, label in zip(words, ids, strict=True):
        if not word or NOT_IN_A_WORD.search(word):
            raise ValueError(f"{str(word)[:40]!r} is not a word; expected text without tabs and line breaks")
        if label is None or not 0 <= label < len(names):
            raise ValueError(f"the word {word[:40]!r} has no tag")
        check_tag(names[label])
    return words, [names[label] for label in ids]


def columns(name: str, features: Features) -> tuple[str, str]:
    """The names of the columns with words (a list of strings) and tags (a list of ClassLabels)."""
    lists = {column: feature.feature for column, feature in features.items() if isinstance(feature, List)}
    tags = [column for column, inner in lists.items() if isinstance(inner, ClassLabel)]
    words = [column for column, inner in lists.items() if inner == Value("string") and column not in LANG_COLUMNS]
    if "ner_tags" in tags:
        tags = ["ner_tags"]
    if "tokens" in words:
        words = ["tokens"]
    if len(tags) != 1 or len(words) != 1:
        raise UserError(f"{name}: expected one column with lists of words and one with lists of ClassLabel tags, "
                        f"found {', '.join(f'{column}: {feature}' for column, feature in features.items())}")
    return words[0], tags[0]


def of_language(name: str, rows: Dataset, lang: str) -> list[int]:
    """The numbers of the rows in a language: by a column with one name, or one name a word."""
    column = next((c for c in LANG_COLUMNS if c in rows.column_names), None)
    if column is None:
        raise UserError(f"{name}: no language '{lang}'; expected one configuration a language or a lang column")
    langs = [value if isinstance(value, str) else (value or [""])[0] for value in rows[column]]
    chosen = [i for i, value in enumerate(langs) if value == lang]
    if not chosen:
        raise UserError(f"{name}: no language '{lang}'; there are {known(langs)}")
    return chosen
