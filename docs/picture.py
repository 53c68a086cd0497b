"""README's picture, text in four languages as a model tags it: ``python -m docs.picture RUN``.

An SVG with its own background and both colour schemes, because a page that shows it passes neither on.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape

from accelerate import Accelerator
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from ner.files import write_whole
from ner.html import HUES
from ner.inference import page, tag, trained

PICTURE = Path(__file__).parent / "tagged.svg"
# Written before a model saw them and not chosen by what it found: its mistakes stay.
TEXTS = {
    "de": "Gestern traf Marie Huber in Luzern den neuen Chef von Novartis.",
    "fr": "Claire Dubois a quitté Lausanne pour travailler chez Nestlé à Paris.",
    "it": "Giulia Bernasconi insegna all'Università di Bologna dal 2019.",
    "en": "James Cook sailed from Plymouth, long before the Red Cross was founded.",
}
TITLE = "Text in four languages with its entities marked"
SIZE, SMALL, ROW, LEFT, PAD = 17, 10.5, 46, 52, 6  # pixels: of text, of types, and between things
NARROWER = 0.89  # than matplotlib's font are those that browsers take for sans-serif; textLength settles the rest

STYLE = """text{font-family:Helvetica,Arial,'Liberation Sans',sans-serif;fill:#1b1b1b}
.paper{fill:#fff;stroke:#ddd}.lang{fill:#666}.small{font-weight:bold}%s
@media(prefers-color-scheme:dark){text{fill:#e8e8e8}.paper{fill:#161616;stroke:#3a3a3a}.lang{fill:#a0a0a0}%s}"""
LIGHT = ".t%d{fill:hsl(%d,85%%,87%%);stroke:hsl(%d,70%%,38%%)}"
DARK = ".t%d{fill:hsl(%d,50%%,25%%);stroke:hsl(%d,70%%,68%%)}"


def width(text: str, size: float, bold: bool = False) -> float:
    """In pixels, about as browsers set it."""
    font = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal", size=size)
    return NARROWER * text_to_path.get_text_width_height_descent(text, font, False)[0]


def word(x: float, y: float, text: str, size: float, style: str = "") -> str:
    length = f'textLength="{width(text, size, style == "small"):.1f}" lengthAdjust="spacingAndGlyphs"'
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" class="{style}" {length}>{escape(text)}</text>'


def row(y: float, tagged: tag.TaggedText, types: tuple[str, ...]) -> tuple[str, float]:
    """A text on the line at `y`, and where it ends."""
    x, space, shown = float(LEFT), width(" ", SIZE), ""
    for piece, entity in page.pieces(tagged):
        kind = entity["type"] if entity else ""
        x += space * piece.startswith(" ")  # a browser drops the spaces at the ends
        text = width(piece.strip(), SIZE)
        if entity:
            whole = text + 3 * PAD + width(kind, SMALL, True)
            shown += (f'<rect x="{x:.1f}" y="{y - 20}" width="{whole:.1f}" height="28" rx="4" '
                      f'class="t{types.index(kind)}"/>' + word(x + PAD, y, piece, SIZE)
                      + word(x + 2 * PAD + text, y - 1, kind, SMALL, "small"))
            x += whole
        elif piece.strip():
            shown += word(x, y, piece.strip(), SIZE)
            x += text
        x += space * (piece.endswith(" ") and bool(piece.strip()))
    return shown, x


def picture(texts: Iterable[tuple[str, tag.TaggedText]], types: tuple[str, ...]) -> str:
    """The SVG; `texts`: language and tagged text; `types`: all that the model knows, in its order."""
    lines, end, y = "", 0.0, float(ROW) - 12
    spoken = []
    for lang, tagged in texts:
        shown, x = row(y, tagged, types)
        lines += word(20, y, lang, 14, "lang") + shown + "\n"
        spoken.append(f"{lang}: " + ", ".join(f"{one['text']} ({one['type']})" for one in tag.entities_of(tagged)))
        y, end = y + ROW, max(end, x)
    colours = ["".join(one % (i, HUES[i % len(HUES)], HUES[i % len(HUES)]) for i in range(len(types)))
               for one in (LIGHT, DARK)]
    size = f"{end + 20:.0f}", f"{y - ROW + 24:.0f}"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
            f'viewBox="0 0 {size[0]} {size[1]}" role="img" aria-labelledby="title desc">\n'
            f'<title id="title">{TITLE}</title>\n<desc id="desc">{escape("; ".join(spoken))}</desc>\n'
            f'<style>{STYLE % tuple(colours)}</style>\n'
            f'<rect x="0.5" y="0.5" width="{int(size[0]) - 1}" height="{int(size[1]) - 1}" rx="8" class="paper"/>\n'
            f'{lines}</svg>\n')


def main(run: str) -> None:
    accelerator = Accelerator()
    model = trained.load(run, accelerator)
    texts = list(tag.read_texts(TEXTS.values()))
    tagged = tag.tag(model, texts, accelerator)
    write_whole(PICTURE, picture(zip(TEXTS, tagged, strict=True), model.tags.types))


if __name__ == "__main__":
    main(sys.argv[1])
