"""Which columns of a data set hold words, tags and languages, and what a row of them says."""

import re
from collections.abc import Sequence

from datasets import ClassLabel, Dataset, Features, LargeList, List, Value

from ner.data.sentences import NOT_IN_A_WORD
from ner.options import Options, UserError, shown
from ner.schemes import looks_like_tag
from ner.tags import UNANNOTATED

LANG_COLUMNS = ("lang", "langs", "language")
WORD_COLUMNS, TAG_COLUMNS = ("tokens", "words", "token", "word"), ("ner_tags", "ner")  # found by name, first wins
OF_TAGS = re.compile("ner|tag|label|entit|bio|iob")  # in the name of a column of strings or plain numbers
OF_OTHER_TAGS = re.compile("pos|chunk|lemma|dep|morph|feat|srl|lang")  # in the name of what marks no entities
WITHHELD = (-1, -100, None)  # of a word whose label was not published, or is not to be scored


def kind(feature) -> str | None:
    """What a list holds: "label" (numbers with names), "number" or "text"; None for other lists and no lists."""
    inner = feature.feature if isinstance(feature, (List, LargeList)) else None
    if isinstance(inner, ClassLabel):
        return "label"
    if not isinstance(inner, Value):
        return None
    return "number" if re.match("u?int", inner.dtype) else "text" if "string" in inner.dtype else None


def columns(name: str, features: Features, options: Options) -> tuple[str, str]:
    """The names of the columns with words and tags: as `options` say, by their usual names, or the only one of its
    kind."""
    kinds = {column: found for column, feature in features.items() if column.isprintable() and (found := kind(feature))}
    there = ", ".join(f"{column}: {feature}" for column, feature in features.items() if column.isprintable())[:500]
    for option in ("token_column", "tag_column"):
        if getattr(options, option) not in (None, *kinds):
            raise UserError(f"{name}: no column {shown(getattr(options, option))}; expected {option} to be one with "
                            f"lists of words, names or numbers, found {there}")
    texts = [column for column in kinds if kinds[column] == "text" and column not in LANG_COLUMNS]
    no_tags = [column for column in texts if not OF_TAGS.search(column) and not OF_OTHER_TAGS.search(column)]
    words = chosen(texts, options.token_column, WORD_COLUMNS) or no_tags or texts
    tags = [column for column in kinds if [column] != words and not OF_OTHER_TAGS.search(column)
            and (kinds[column] == "label" or OF_TAGS.search(column))]
    tags = chosen([*kinds], options.tag_column, ()) or chosen(tags, None, TAG_COLUMNS) or tags
    if len(words) == 1 and len(tags) > 1:
        raise UserError(f"{name}: {' and '.join(tags)} may each hold the tags; choose one, as in --tag_column "
                        f"{tags[0]}")
    if len(words) != 1 or len(tags) != 1:
        raise UserError(f"{name}: expected one column with lists of words and one with lists of tags, found {there}")
    return words[0], tags[0]


def chosen(there: Sequence[str], option: str | None, usual: Sequence[str]) -> list[str]:
    """The first name that is there: the user's, or one of the usual ones; an empty list where none is."""
    return [column for column in ([option] if option else usual) if column in there][:1]


def names_in(features: Features, column: str) -> dict[int, str] | None:
    """The names of a column's labels, empty for text; None for numbers, whose names are elsewhere."""
    held = kind(features[column])
    return dict(enumerate(features[column].feature.names)) if held == "label" else {} if held == "text" else None


def scheme_of(names: dict[int, str]) -> str | None:
    """IO where the names of the labels have no letters; any other scheme shows in the rows."""
    plain = "O" in names.values() and len(names) > 1 and not any(looks_like_tag(n) for n in names.values() if n != "O")
    return "IO" if plain else None


def sentence(words: list | None, labels: list | None, names: dict[int, str]) -> tuple[list[str], list[str]]:
    """Words and tags of a row, not yet of any one scheme; ValueError for what no file could hold either.

    Withheld labels are words without annotation; a row of nothing else is a row whose labels nobody published.
    """
    words, labels = words or [], labels or []
    if len(words) != len(labels):
        raise ValueError(f"{len(words)} words but {len(labels)} tags; expected one per word")
    tags = []
    for word, label in zip(words, labels, strict=True):
        if not word or NOT_IN_A_WORD.search(word):
            raise ValueError(f"{str(word)[:40]!r} is not a word; expected text without tabs and line breaks")
        if not isinstance(label, str) and label not in WITHHELD and label not in names:
            raise ValueError(f"the label {label} of the word {word[:40]!r} has no name; expected one of "
                             f"{min(names)} to {max(names)}")
        tags.append(UNANNOTATED if label in WITHHELD else label if isinstance(label, str) else names[label])
    if words and all(label in WITHHELD for label in labels):
        raise ValueError(f"the word {words[0][:40]!r} has no tag, nor has any other; expected a row with tags")
    return words, tags


def of_language(rows: Dataset, column: str, value: str) -> tuple[list[int], list[str]]:
    """The numbers of the rows in a language, and all languages: by a column with one name, or one name per word."""
    feature = rows.features[column]
    feature = feature.feature if isinstance(feature, (List, LargeList)) else feature
    firsts = [(found or [None])[0] if isinstance(found, (list, type(None))) else found for found in rows[column]]
    if isinstance(feature, ClassLabel):
        firsts = [None if label in WITHHELD else feature.int2str(label) for label in firsts]
    return [i for i, found in enumerate(firsts) if found == value], [str(found) for found in firsts if found]


def column_of_language(columns: Sequence[str]) -> str | None:
    return next((column for column in LANG_COLUMNS if column in columns), None)
