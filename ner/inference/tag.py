"""Texts, raw or already split into words -> tags and entities, in the forms that ``evaluate.py tag`` prints."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from accelerate import Accelerator
from tabulate import tabulate

from ner.data import alignment, encoded
from ner.data.encoded import Encoded
from ner.data.sentences import NOT_IN_A_WORD
from ner.data.text import Word, entities, split_words
from ner.evaluation.predict import Predictions
from ner.inference.trained import Trained, predicted
from ner.options import UserError
from ner.tags import spans

MAX_CHARACTERS = 1 << 20  # of one text: a line without an end is refused before it fills the memory
JSON_OBJECT = re.compile(r'\s*\{\s*"[^"]*"\s*:')


class Text(NamedTuple):
    """A text and its words; white space alone has none."""

    text: str
    words: list[Word]


class TaggedText(NamedTuple):
    """A text, and a tag with its probability for each word of it."""

    text: str
    words: list[Word]
    tags: list[str]
    confidence: list[float]


def lines(stream) -> Iterator[str]:
    """The lines of a text stream without their ends and byte order marks (files one after another have several); one
    longer than `MAX_CHARACTERS` is cut just beyond that."""
    try:
        while line := stream.readline(MAX_CHARACTERS + 1):
            yield line.removesuffix("\n").removesuffix("\r").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UserError(f"standard input is not UTF-8 ({error.reason}); expected UTF-8") from None


def read_texts(lines: Iterable[str], source: str = "text ", pretokenized: bool = False) -> Iterator[Text]:
    """Each line with its words: split as the training data is or, if `pretokenized`, at white space alone, where a JSON
    object has them under "tokens". ``UserError`` names `source` and the number of a line that is too long, is not UTF-8
    (such bytes come as surrogates) or is JSON without words."""
    for number, line in enumerate(lines, start=1):
        try:
            yield read_text(line, pretokenized)
        except ValueError as error:
            raise UserError(f"{source}{number}: {error}") from None


def read_text(line: str, pretokenized: bool = False) -> Text:
    """One text with its words; ValueError as in `read_texts`."""
    if len(line) > MAX_CHARACTERS:
        raise ValueError(f"{line[:20]!r}... is longer than {MAX_CHARACTERS:,} characters; expected a page")
    if any("\ud800" <= character <= "\udfff" for character in line):
        raise ValueError(f"{line[:40]!r} is not UTF-8; expected UTF-8")
    if pretokenized and JSON_OBJECT.match(line):
        return joined(given_words(line))
    return Text(line, words_between_spaces(line) if pretokenized else split_words(line))


def words_between_spaces(line: str) -> list[Word]:
    """``" Anna  K." -> [("Anna", 1, 5), ("K.", 7, 9)]``"""
    return [Word(found[0], *found.span()) for found in re.finditer(r"\S+", line)]


def given_words(line: str) -> list[str]:
    """The words of a line that is a JSON object."""
    expected = 'expected {"tokens": ["Anna", ...]} or words between spaces'
    try:
        tokens = json.loads(line).get("tokens")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({getattr(error, 'msg', error)}); {expected}") from None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError(f"no list of strings under 'tokens'; {expected}")
    check_words(tokens)
    return tokens


def check_words(tokens: list[str]) -> None:
    """ValueError for a word that is empty or could not be in a text."""
    for position, token in enumerate(tokens, start=1):
        if not token:
            raise ValueError(f"word {position} is empty; expected only words under 'tokens'")
        if bad := NOT_IN_A_WORD.search(token):
            raise ValueError(f"{bad[0]!r} inside word {position}, {token[:40]!r}; expected a word without it")


def joined(tokens: list[str]) -> Text:
    """``["Anna", "K."] -> ("Anna K.", [("Anna", 0, 4), ("K.", 5, 7)])``"""
    words, start = [], 0
    for token in tokens:
        words.append(Word(token, start, start + len(token)))
        start += len(token) + 1
    return Text(" ".join(tokens), words)


def batches(texts: Iterable[Text], size: int = 256) -> Iterator[list[Text]]:
    """`size` texts at a time, so that a long stream is answered as it comes."""
    texts = iter(texts)
    while part := list(islice(texts, size)):
        yield part


def tag(trained: Trained, texts: list[Text], accelerator: Accelerator) -> list[TaggedText]:
    """A tag for every word of every text; a text without words has no tags."""
    return tagged(trained, texts, predicted(trained, sentences(trained, texts), accelerator))


def sentences(trained: Trained, texts: list[Text]) -> Encoded:
    """The texts that have words, ready for the model."""
    tokens = [[word.text for word in one.words] for one in texts if one.words]
    return encoded.unlabelled(tokens, trained.tokenizer, trained.options.max_length, trained.options.stride)


def tagged(trained: Trained, texts: list[Text], found: Predictions) -> list[TaggedText]:
    """The texts with what was predicted for their words."""
    lengths = [len(one.words) for one in texts]
    return [TaggedText(one.text, one.words, trained.tags.names_of(labels), confidence.tolist())
            for one, labels, confidence in zip(texts, encoded.per_sentence(found.labels, lengths),
                                               encoded.per_sentence(found.confidence, lengths), strict=True)]


def without_doubtful(tagged: TaggedText, threshold: float) -> TaggedText:
    """The same with O for the words of entities whose score, as in `as_json`, is below `threshold`."""
    tags = list(tagged.tags)
    for (first, end, _), entity in zip(spans(tags), entities_of(tagged), strict=True):
        if entity["score"] < threshold:
            tags[first:end] = ["O"] * (end - first)
    return tagged._replace(tags=tags)


def entities_of(tagged: TaggedText) -> list[dict]:
    return entities(tagged.tags, tagged.words, tagged.text, tagged.confidence)


def as_columns(tagged: TaggedText) -> str:
    """``word<TAB>tag`` lines."""
    return "".join(f"{word.text}\t{tag}\n" for word, tag in zip(tagged.words, tagged.tags, strict=True))


def as_json(tagged: TaggedText) -> str:
    """One line: the text and its entities with character offsets and scores; the words, too, where they were given."""
    own = {} if tagged.words == split_words(tagged.text) else {"tokens": [word.text for word in tagged.words]}
    return json.dumps({"text": tagged.text, **own, "entities": entities_of(tagged)}, ensure_ascii=False) + "\n"


def as_subwords(tagged: TaggedText, trained: Trained) -> str:
    """The table of the book's chapter 4: subword, id, word number, tag; IGN where a subword carries no tag."""
    known = alignment.subwords({word.text for word in tagged.words}, trained.tokenizer)
    pieces = [(trained.tokenizer.cls_token_id, "", "IGN")]
    for number, (word, name) in enumerate(zip(tagged.words, tagged.tags, strict=True)):
        pieces += [(piece, str(number), "IGN" if i else name) for i, piece in enumerate(known[word.text])]
    pieces.append((trained.tokenizer.sep_token_id, "", "IGN"))
    subwords = trained.tokenizer.convert_ids_to_tokens([piece for piece, _, _ in pieces])
    rows = [(subword, str(piece), number, name)
            for subword, (piece, number, name) in zip(subwords, pieces, strict=True)]
    return tabulate(rows, ["subword", "id", "word", "tag"], "plain", disable_numparse=True,
                    colalign=["left", "right", "right", "left"]) + "\n"
