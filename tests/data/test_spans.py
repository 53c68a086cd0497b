"""Texts with character spans, as each tool writes them: exact words, tags and places; a round trip through `tag`."""

import json
import logging
import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ner.data.readers import read_file
from ner.data.text import split_words
from ner.inference.tag import TaggedText, as_json, joined
from ner.tags import spans
from tests.helpers.reading import complaint, read

TEXT = "Frau Ott-Meier ruft in Bern an."  # Ott-Meier 5-14, Bern 23-27
WORDS = ["Frau", "Ott-Meier", "ruft", "in", "Bern", "an", "."]
TAGS = ["O", "B-PER", "O", "O", "B-LOC", "O", "O"]
TRIPLES = [[5, 14, "PER"], [23, 27, "LOC"]]


def objects(start: str, end: str, kind: str, **more) -> list[dict]:
    return [{"id": 3, start: one[0], end: one[1], kind: one[2], **more} for one in TRIPLES]


def task(*annotations: dict, data: dict | None = None) -> dict:
    return {"id": 1, "data": data or {"text": TEXT}, "annotations": list(annotations), "predictions": []}


def results(*entities, **more) -> dict:
    found = [{"value": {"start": i, "end": j, "text": TEXT[i:j], "labels": [kind]}, "id": "x", "from_name": "label",
              "to_name": "text", "type": "labels", "origin": "manual"} for i, j, kind in entities]
    return {"id": 5, "result": found, "was_cancelled": False, **more}


def given_tokens(*places: tuple[int, int]) -> list[dict]:
    return [{"text": TEXT[i:j], "start": i, "end": j, "id": number, "ws": True} for number, (i, j) in enumerate(places)]


PLACES = [(0, 4), (5, 14), (15, 19), (20, 22), (23, 27), (28, 30), (30, 31)]
ROWS = {
    "Doccano's entities": {"id": 7, "text": TEXT, "entities": objects("start_offset", "end_offset", "label"),
                           "relations": [], "Comments": []},
    "Doccano's label": {"id": 7, "text": TEXT, "label": TRIPLES},
    "Doccano's labels": {"text": TEXT, "labels": TRIPLES},
    "Doccano's data": {"id": 7, "data": TEXT, "label": TRIPLES},
    "spaCy's pairs": [TEXT, {"entities": TRIPLES}],
    "spaCy's documents": {"text": TEXT, "ents": objects("start", "end", "label"), "tokens": given_tokens(*PLACES)},
    "entities": {"text": TEXT, "entities": list(reversed(TRIPLES))},
    "Prodigy": {"text": TEXT, "tokens": given_tokens(*PLACES), "answer": "accept", "_input_hash": 3,
                "spans": objects("start", "end", "label", token_start=1, token_end=1)},
    "Hugging Face": {"text": TEXT, "entities": objects("start", "end", "entity_group", score=0.9, word="ott")},
    "Label Studio": task(results(*TRIPLES)),
    "Label Studio's other fields": task({"was_cancelled": True, "result": []}, results(*TRIPLES), results(*TRIPLES),
                                        data={"body": TEXT, "number": 3}),
    "Label Studio's JSON_MIN": {"id": 1, "text": TEXT, "annotator": 1, "label": [
        {"start": i, "end": j, "text": TEXT[i:j], "labels": [kind]} for i, j, kind in TRIPLES]},
    "Stockmark": {"curid": "3", "text": TEXT,
                  "entities": [{"name": TEXT[i:j], "span": [i, j], "type": kind} for i, j, kind in TRIPLES]},
    "white space in it": {"text": TEXT, "spans": [[4, 15, "PER"], [22, 28, "LOC"], [5, 14, "PER"]]},
    "words as strings": {"text": TEXT, "tokens": WORDS, "entities": TRIPLES},
    "GLiNER": {"tokenized_text": WORDS, "ner": [[1, 1, "PER"], [4, 4, "LOC"]]},
}


@pytest.mark.parametrize("tool", ROWS)
def test_what_tools_write(tmp_path, tool, caplog):
    with caplog.at_level(logging.WARNING):
        for content in (json.dumps(ROWS[tool]), json.dumps([ROWS[tool]] * 2), json.dumps([ROWS[tool]], indent=1)):
            name = "train.json"
            found = read(tmp_path, content, name)
            assert found and all(one.tokens == WORDS and one.tags == TAGS for one in found)
    assert not caplog.messages


def test_long_entities_and_texts_without(tmp_path):
    rows = [{"text": "Bern", "entities": []}, {"text": "Bank Ost AG", "entities": [[0, 11, "ORG"]]},
            {"text": "AB CD", "entities": [[0, 2, "X"], [3, 5, "X"]]}, {"text": "", "entities": []}]
    found = read(tmp_path, "\n".join(map(json.dumps, rows)), "train.jsonl")
    assert [(one.tokens, one.tags, one.line) for one in found] == [
        (["Bern"], ["O"], 1), (["Bank", "Ost", "AG"], ["B-ORG", "I-ORG", "I-ORG"], 2),
        (["AB", "CD"], ["B-X", "B-X"], 3)]


def test_what_has_no_annotation_is_left_out_with_a_notice(tmp_path, caplog):
    done = task(results(*TRIPLES))
    for rows in ([task(), done, task({"result": [], "was_cancelled": True})],
                 [{"text": TEXT, "spans": TRIPLES, "answer": "reject"}, {"text": TEXT, "spans": TRIPLES},
                  {"text": TEXT, "spans": TRIPLES, "answer": "ignore"}]):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert [one.tags for one in read(tmp_path, json.dumps(rows), "train.json")] == [TAGS]
        assert caplog.messages == [f"{tmp_path / 'train.json'}: left out 2 texts without words or annotation"]


def test_prodigy_without_spans_and_relations_of_label_studio(tmp_path):
    row = {"text": TEXT, "tokens": given_tokens(*PLACES), "answer": "accept"}
    assert read(tmp_path, json.dumps(row))[0].tags == ["O"] * 7
    assert read(tmp_path, json.dumps([{"text": TEXT, "annotator": 1, "annotation_id": 4}]))[0].tags == ["O"] * 7
    assert read(tmp_path, json.dumps({"text": TEXT, "tokens": [], "entities": TRIPLES}))[0].tags == TAGS
    annotation = results(*TRIPLES)
    annotation["result"] += [{"type": "relation", "from_id": "x", "to_id": "y", "direction": "right"},
                             {"type": "choices", "value": {"choices": ["good"]}}]
    assert read(tmp_path, json.dumps([task(annotation)]))[0].tags == TAGS


def test_words_are_the_tools_own_where_it_gives_them(tmp_path):
    places = [(0, 4), (4, 5), (5, 8), (8, 9), (9, 14), *PLACES[2:]]
    row = {"text": TEXT, "tokens": given_tokens(*places), "spans": objects("start", "end", "label")}
    (found,) = read(tmp_path, json.dumps(row))
    assert found.tokens == ["Frau", "Ott", "-", "Meier", *WORDS[2:]]
    assert found.tags == ["O", "B-PER", "I-PER", "I-PER", *TAGS[2:]]


def test_an_entity_that_cuts_a_word_splits_it_and_is_reported(tmp_path, caplog):
    rows = [{"text": TEXT, "entities": TRIPLES}, {"text": TEXT, "entities": [[5, 8, "PER"], [9, 14, "PER"]]},
            {"text": TEXT, "entities": [[0, 7, "PER"], [23, 27, "LOC"]]}]
    with caplog.at_level(logging.WARNING):
        found = read(tmp_path, "\n".join(map(json.dumps, rows)), "train.jsonl")
    assert [one.tokens[:5] for one in found] == [["Frau", "Ott-Meier", "ruft", "in", "Bern"],
                                                 ["Frau", "Ott", "-", "Meier", "ruft"],
                                                 ["Frau", "Ot", "t-Meier", "ruft", "in"]]
    assert [one.tags[:5] for one in found][1:] == [["O", "B-PER", "O", "B-PER", "O"], ["B-PER", "I-PER", "O", "O", "O"]]
    assert caplog.messages == [f"{tmp_path / 'train.jsonl'}:2: the entity 5-8 'PER' cuts the word 'Ott-Meier', which "
                               "was split there (3 of 6 entities)"]


PARTS = "start and end (integers) or no type (a string)"
FORM = 'expected {"text": "...", "entities": [[start, end, "TYPE"]]}'


def spanned(*entities, text: str = TEXT) -> dict:
    return {"text": text, "entities": list(entities)}


@pytest.mark.parametrize(("row", "message"), [
    (spanned([5, 14, "PER"], [9, 27, "LOC"]), "the entities 5-14 'PER' and 9-27 'LOC' overlap; expected at most one "
                                              "entity at each word"),
    (spanned([5, 14, "PER"], [5, 14, "LOC"]), "the entities 5-14 'LOC' and 5-14 'PER' overlap; expected at most one "
                                              "entity at each word"),
    (spanned([5, 40, "PER"]), "the entity 5-40 'PER' is not inside the text of 31 characters; expected start < end, in "
                              "characters from 0"),
    (spanned([-1, 4, "PER"]), "the entity -1-4 'PER' is not inside the text of 31 characters; expected start < end, in "
                              "characters from 0"),
    (spanned([4, 4, "PER"]), "the entity 4-4 'PER' is not inside the text of 31 characters; expected start < end, in "
                             "characters from 0"),
    (spanned([4, 5, "PER"]), "the entity 4-5 'PER' is white space; expected a word"),
    (spanned([0, 4, "A B"]), "the entity 0-4 'A B': the type cannot be part of a tag; expected printable characters "
                             "without spaces"),
    (spanned({"start": 6, "end": 14, "label": "PER", "text": "Ott-Meier"}),
     "the entity 6-14 'PER' is 'Ott-Meier', but these characters are 'tt-Meier'; expected offsets in characters from "
     "0"),
    (spanned([0, 4]), f"[0, 4] is not an entity; {FORM}"),
    (spanned({"start": "0", "end": 4, "label": "PER"}),
     f"the entity {{'start': '0', 'end': 4, 'label': 'PER'}} has no {PARTS}; {FORM}"),
    (spanned([True, 4, "PER"]), f"the entity [True, 4, 'PER'] has no {PARTS}; {FORM}"),
    ({"text": TEXT, "entities": None}, f"no list under 'entities'; {FORM}"),
    ({"text": TEXT}, f"no list under 'entities'; {FORM}"),
    ({"entities": []}, f"no string under 'text'; {FORM}"),
    ([], f"[] is not an object; {FORM}"),
    (spanned(text="a\0b"), "'\\x00' inside a word; expected text"),
    (spanned(text="\ud800"), "'\\ud800' inside a word; expected text"),
    (task({"result": 3}), f"no list of objects under 'result' of an annotation; {FORM}"),
    (task(results(*TRIPLES), results(TRIPLES[0])), "2 annotations that differ; expected one per text"),
    (task(results(*TRIPLES), data={"a": "x", "b": "y"}), f"2 strings under 'data', none of them called 'text'; {FORM}"),
    ({"text": TEXT, "tokens": given_tokens((5, 14), (0, 4)), "spans": []},
     "{'text': 'Frau', 'start': 0, 'end': 4, 'id': 1, 'ws': True} is not a token of the text; expected start and end "
     "in characters from 0, one token after the other"),
    ({"text": TEXT, "tokens": ["Frau", "Meyer"], "spans": []}, "'Meyer' is not a token of the text; expected start and "
     "end in characters from 0, one token after the other"),
    ({"text": TEXT, "tokens": given_tokens((0, 4)), "spans": TRIPLES}, "the entity 5-14 'PER' is not part of any word; "
                                                                       "expected one of the tokens"),
])
def test_complaints(tmp_path, row, message):
    good = json.dumps(spanned(*TRIPLES))
    assert complaint(tmp_path, f"{good}\n\n{json.dumps(row)}\n", "train.jsonl") == f"3: {message}"


@pytest.mark.parametrize("span", [[1, 0, "X"], [0, 9, "X"], [0, "X"], ["0", 1, "X"], [0, 0, 3]])
def test_complaints_about_gliner(tmp_path, span):
    message = complaint(tmp_path, json.dumps({"tokenized_text": ["a", "b"], "ner": [span]}))
    assert message.startswith(f"1: {span} under 'ner' is not [first, last, \"TYPE\"] of 2 words; expected")
    assert complaint(tmp_path, json.dumps({"tokenized_text": ["a", "b"], "ner": [[0, 1, "X"], [1, 1, "Y"]]})) == (
        "1: the entity 1-1 'Y' overlaps another one; expected at most one entity at each word")


PIECES = ["Anna", " ", "'s", "Dr.", "U.S.", ".", "(", "2,5", "\u200b", "👩🏽", "é", "東京", "\n", "\u00a0", "-"]
ANY_TEXT = (st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
            | st.lists(st.sampled_from(PIECES)).map("".join))

ANY_WORD = st.sampled_from([" ", "\u00a0", "a", "Ott-Meier", "b c", "St.", "\u200b"]) | st.text(
    st.characters(exclude_characters="\t\n\0", exclude_categories=["Cs"]), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.lists(st.tuples(ANY_TEXT | st.lists(ANY_WORD, min_size=1), st.randoms(use_true_random=False)), min_size=1,
                max_size=4))
@example([(["a", " ", "b c", "\u00a0", "c", "c"], random.Random(3))] * 4)
def test_what_tag_writes_is_read_as_the_same_words_and_tags(tmp_path, texts):
    """Raw texts, and words that were given."""
    expected, lines = [], []
    for one, rng in texts:
        text, words = joined(one) if isinstance(one, list) else (one, split_words(one))
        tags = [rng.choice(["O", "B-PER", "I-PER", "B-LOC"]) for _ in words]
        lines.append(as_json(TaggedText(text, words, tags, [0.5] * len(words))))
        expected.append(([word.text for word in words], spans(tags)))
    if not any(words for words, _ in expected):
        return
    (tmp_path / "tagged.jsonl").write_text("".join(lines), encoding="utf-8")
    found = [(one.tokens, spans(one.tags)) for one in read_file(tmp_path / "tagged.jsonl", "de")]
    assert found == [one for one in expected if one[0]]


@pytest.mark.slow
def test_many_entities_take_no_longer_than_their_number(tmp_path):
    text = "ab " * 50_000
    (found,) = read(tmp_path, json.dumps({"text": text, "entities": [[i, i + 1, "X"] for i in range(0, 60_000, 3)]}))
    assert len(found.tokens) == 70_000 and found.tags.count("B-X") == 20_000
