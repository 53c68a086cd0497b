"""Words -> subwords and windows: which subword carries a word's label, and which window answers for it.

The first subword of a word carries its label, every other position -100 (ignored by loss and scores). Trade-offs:
- Each distinct word is tokenised once, alone. Tokenisers of this family never look across words that come split, so
  the ids are those of the whole sentence at once (tested), but no alignment has to be read back from offsets, which
  tokenisers get wrong for some diacritics and control characters, and a corpus costs its vocabulary, not its length:
  12,580 German sentences take about two thirds of the tokeniser's own time for the batch.
- A sentence longer than a window is cut into overlapping windows instead of being truncated: every word is owned by
  exactly one window, the one that shows it most context, and is trained and scored there only. The overlap is computed
  twice.
- A word without subwords (a lone zero-width space) gets the unknown token, and so a label and a prediction.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

IGNORED = -100


class Window(NamedTuple):
    """A stretch of one sentence with special tokens; the words it owns are consecutive, from `first_word` on."""

    input_ids: np.ndarray  # (n,) int32
    labels: np.ndarray  # (n,) int32, -100 but on the first subword of each owned word
    first_word: int


def subwords(words: set[str], tokenizer) -> dict[str, list[int]]:
    """The subword ids of each word (without special tokens), at least one; a lone surrogate, no text, counts as '?'."""
    if not words:
        return {}
    ordered = sorted(words)
    texts = [[word.encode("utf-8", "replace").decode()] for word in ordered]
    encoded = tokenizer(texts, is_split_into_words=True, add_special_tokens=False, return_attention_mask=False,
                        return_token_type_ids=False, truncation=False, verbose=False)
    return {word: ids or [tokenizer.unk_token_id] for word, ids in zip(ordered, encoded["input_ids"], strict=True)}


def encode(
    sentences: list[list[str]], labels: list[list[int]], tokenizer, max_length: int, stride: int | None = None
) -> list[list[Window]]:
    """The windows of every sentence, in order, each of at most `max_length` subwords, special tokens included.

    `labels` holds one id a word. Neighbouring windows of a long sentence share about `stride` subwords, by
    default half of `max_length`.
    """
    stride = max_length // 2 if stride is None else stride
    known = subwords({word for words in sentences for word in words}, tokenizer)
    first, last = [tokenizer.cls_token_id], [tokenizer.sep_token_id]
    room = max_length - 2
    result = []
    for words, ids in zip(sentences, labels, strict=True):
        pieces = [known[word][:room] for word in words]
        windows = []
        for start, stop, own, end in window_spans([len(p) for p in pieces], room, stride):
            window_labels = [IGNORED]
            for word in range(start, stop):
                window_labels.append(ids[word] if own <= word < end else IGNORED)
                window_labels += [IGNORED] * (len(pieces[word]) - 1)
            window_ids = first + [piece for word in range(start, stop) for piece in pieces[word]] + last
            windows.append(Window(np.array(window_ids, np.int32), np.array(window_labels + [IGNORED], np.int32), own))
        result.append(windows)
    return result


def window_spans(sizes: list[int], room: int, stride: int) -> list[tuple[int, int, int, int]]:
    """Windows over words of `sizes` subwords: (first word, end word, first owned word, end of owned words) each.

    Every word is owned once, by the window in which the lesser of its left and right context (subwords) is greatest,
    the first of equals; the sentence's own ends are full context. Time and memory are linear in the sentence.
    ``window_spans([1] * 6, 4, 2) -> [(0, 4, 0, 3), (2, 6, 3, 6)]``
    """
    ends = np.concatenate([[0], np.cumsum(sizes)])  # ends[w] = subwords before word w
    count, total = len(sizes), ends[-1]
    if total <= room:
        return [(0, count, 0, count)]
    context, owner = np.full(count, -1), np.zeros(count, np.int64)
    spans: list[tuple[int, int]] = []
    start, stop = 0, 0
    while stop < count:
        if spans:
            overlapping = np.searchsorted(ends, ends[stop] - stride)  # words within the last `stride` subwords
            fitting = np.searchsorted(ends, ends[stop + 1] - room)  # from here on, the next word fits too
            start = int(max(overlapping, fitting))
        stop = int(np.searchsorted(ends, ends[start] + room, side="right")) - 1
        left = ends[start:stop] - ends[start] if start > 0 else total
        right = ends[stop] - ends[start + 1 : stop + 1] if stop < count else total
        here = np.minimum(left, right)
        more = here > context[start:stop]
        context[start:stop][more] = here[more]
        owner[start:stop][more] = len(spans)
        spans.append((start, stop))
    bounds = np.searchsorted(owner, np.arange(len(spans) + 1)).tolist()  # owners ascend, as windows do
    return [(*span, own, end) for span, (own, end) in zip(spans, pairwise(bounds), strict=True) if own < end]
