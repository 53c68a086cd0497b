"""HTML pages: single files without scripts, readable on a phone, in the dark and in print.

The templates (`templates/`) escape all text, and a content security policy forbids every request, so that no sentence
can do harm.
"""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ner.files import whole_file

HUES = (212, 28, 140, 330, 265, 185, 52, 0)  # degrees; with more types they repeat, slightly shifted
PIECES = 1000  # of a page, joined for each write: a thousand times as quick as each on its own


def write_page(path: Path, template: str, title: str, types: Sequence[str], **values) -> None:
    """Fill `template` and write it, piece by piece, so that `values` may hold iterators of any length. `path` has the
    whole page in the end, or stays as it was. `types`: the entity types in the order of their colours."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True,
                              undefined=StrictUndefined, keep_trailing_newline=True)
    hues = [HUES[i % len(HUES)] + 20 * (i // len(HUES)) for i in range(len(types))]
    page = environment.get_template(template).stream(title=title, types=types, hues=hues, **values)
    page.enable_buffering(PIECES)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        page.dump(str(temporary), "utf-8", "xmlcharrefreplace")
