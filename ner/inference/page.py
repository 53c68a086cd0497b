"""Tagged texts as an HTML page to read and to send to somebody (templates/tagged.html)."""

from collections.abc import Iterable
from pathlib import Path

from ner.html import write_page
from ner.inference.tag import TaggedText, entities_of


def write_tagged(path: Path, title: str, texts: Iterable[TaggedText], types: tuple[str, ...]) -> None:
    """One text after another, as they come; `types`: all that the model knows, in its order."""
    write_page(path, "tagged.html", title, types, texts=map(pieces, texts))


def pieces(tagged: TaggedText) -> list[tuple[str, dict | None]]:
    """The text in pieces that together are all of it: entities, with their types and scores, and what is between them.

    ``"in Bern!" -> [("in ", None), ("Bern", {"type": "LOC", "score": 0.98, ...}), ("!", None)]``
    """
    found, end = [], 0
    for entity in entities_of(tagged):
        found += [(tagged.text[end : entity["start"]], None), (entity["text"], entity)]
        end = entity["end"]
    return [*found, (tagged.text[end:], None)]
