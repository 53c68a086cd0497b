"""Sentences as other programs write them."""

import csv
import io

from ner.tags import spans


def table(rows: list[list[str]]) -> str:
    """CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def characters(words: list[str], tags: list[str]) -> tuple[str, list[tuple[int, int, str]]]:
    """The words joined by spaces, and start, end and type of the entities."""
    ends = [len(" ".join(words[:i])) for i in range(1, len(words) + 1)]
    return " ".join(words), [(ends[first] - len(words[first]), ends[last - 1], kind)
                             for first, last, kind in spans(tags)]
