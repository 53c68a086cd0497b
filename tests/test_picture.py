"""README's picture: all of the text is in it, inside its frame, and it is readable without seeing it."""

from xml.etree import ElementTree

from docs import picture
from ner.data.text import split_words
from ner.inference.tag import TaggedText

TYPES = ("PER", "ORG", "LOC")
SVG = "{http://www.w3.org/2000/svg}"


def tagged(text: str, tags: str) -> TaggedText:
    words = split_words(text)
    return TaggedText(text, words, tags.split(), [1.0] * len(words))


def parts(svg: str) -> tuple[ElementTree.Element, list[str]]:
    root = ElementTree.fromstring(svg)
    return root, [one.text for one in root.iter(f"{SVG}text")]


def test_the_text_with_its_entities_stands_in_the_picture():
    root, texts = parts(picture.picture([("de", tagged("Anna & Co. in <Bern>", "B-PER O O O O B-LOC O"))], TYPES))
    assert texts == ["de", "Anna", "PER", "& Co. in <", "Bern", "LOC", ">"]
    assert root.find(f"{SVG}desc").text == "de: Anna (PER), Bern (LOC)"
    assert [one.get("class") for one in root.iter(f"{SVG}rect")] == ["paper", "t0", "t2"]


def test_nothing_overlaps_or_leaves_the_frame():
    root = ElementTree.parse(picture.PICTURE).getroot()
    boxes = [tuple(float(one.get(name)) for name in ("y", "x", "textLength")) for one in root.iter(f"{SVG}text")]
    for (y, x, length), (next_y, next_x, _) in zip(boxes, boxes[1:]):
        assert abs(next_y - y) > 10 or x + length <= next_x + 0.1
    assert max(x + length for _, x, length in boxes) < float(root.get("width"))
    assert max(y for y, _, _ in boxes) < float(root.get("height"))


def test_it_shows_the_sentences_of_the_script():
    _, texts = parts(picture.PICTURE.read_text(encoding="utf-8"))
    shown = "".join(text for text in texts if text not in (*TYPES, *picture.TEXTS)).replace(" ", "")
    assert shown == "".join(picture.TEXTS.values()).replace(" ", "")
