"""Raw texts -> tags and entities, in the forms that ``evaluate.py tag`` prints."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from accelerate import Accelerator
from tabulate import tabulate

from ner.data import alignment, encoded, text
from ner.data.collate import padding_of
from ner.evaluation.predict import predict
from ner.inference.trained import Trained
from ner.options import UserError

MAX_CHARACTERS = 1 << 20  # of one text: a line without an end is refused before it fills the memory


class TaggedText(NamedTuple):
    """A raw text, and a tag with its probability for each word of it."""

    text: str
    words: list[text.Word]
    tags: list[str]
    confidence: list[float]


def tag(trained: Trained, texts: list[str], accelerator: Accelerator) -> list[TaggedText]:
    """Raw texts, split into words as the training data is, tagged; one without words has no tags. ``UserError`` where a
    text holds bytes that are not UTF-8 (they come as surrogates) or is longer than `MAX_CHARACTERS`."""
    for one in texts:
        if len(one) > MAX_CHARACTERS:
            raise UserError(f"the text {one[:20]!r}... is longer than {MAX_CHARACTERS:,} characters; expected a page")
        if any("\ud800" <= character <= "\udfff" for character in one):
            raise UserError(f"the text {one[:40]!r} is not UTF-8; expected UTF-8")
    words = [text.split_words(one) for one in texts]
    tokens = [[word.text for word in one] for one in words]
    options = trained.options
    sentences = encoded.unlabelled([t for t in tokens if t], trained.tokenizer, options.max_length, options.stride)
    found = predict(trained.model, sentences, padding_of(trained.tokenizer), accelerator)
    lengths = [len(t) for t in tokens]
    return [TaggedText(one, split, trained.tags.names_of(labels), confidence.tolist())
            for one, split, labels, confidence in zip(texts, words, encoded.per_sentence(found.labels, lengths),
                                                      encoded.per_sentence(found.confidence, lengths), strict=True)]


def as_columns(tagged: TaggedText) -> str:
    """``word<TAB>tag`` lines."""
    return "".join(f"{word.text}\t{tag}\n" for word, tag in zip(tagged.words, tagged.tags, strict=True))


def as_json(tagged: TaggedText) -> str:
    """One line: the text and its entities with character offsets and scores."""
    found = text.entities(tagged.tags, tagged.words, tagged.text, tagged.confidence)
    return json.dumps({"text": tagged.text, "entities": found}, ensure_ascii=False) + "\n"


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


def lines(stream) -> Iterator[str]:
    """The lines of a text stream without their ends; one that is longer than `MAX_CHARACTERS` comes cut just beyond."""
    try:
        while line := stream.readline(MAX_CHARACTERS + 1):
            yield line.removesuffix("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"standard input is not UTF-8 ({error.reason}); expected UTF-8") from None


def batches(texts: Iterable[str], size: int = 256) -> Iterator[list[str]]:
    """`size` texts at a time, so that a long stream is answered as it comes."""
    texts = iter(texts)
    while part := list(islice(texts, size)):
        yield part
