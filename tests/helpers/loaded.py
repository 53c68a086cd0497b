"""What is loaded by options, as plain lists, and whether it is the corpus of `helpers.corpora`."""

import pytest
from datasets import ClassLabel, Dataset, List

from ner.data import corpora
from ner.options import Options, UserError
from tests.helpers.corpora import CORPUS, NAMES


def pairs(rows: Dataset) -> list[tuple[list[str], list[str]]]:
    names = rows.features["ner_tags"].feature.names
    return [(words, [names[i] for i in ids]) for words, ids in zip(rows["tokens"], rows["ner_tags"])]


def load(wanted=None, **options):
    return corpora.load(Options(**{"train_langs": ["de"], "eval_langs": ["de"], **options}), wanted)


def complaint(**options) -> str:
    with pytest.raises(UserError) as error:
        load(**options)
    assert "\n" not in str(error.value)
    return str(error.value)


def check_is_corpus(corpus, tags, lang="de"):
    assert {split: pairs(langs[lang]) for split, langs in corpus.items()} == CORPUS
    assert tags.names == tuple(NAMES)
    for rows in (langs[lang] for langs in corpus.values()):
        assert rows.column_names == ["tokens", "ner_tags", "lang", "row"]
        assert rows.features["ner_tags"] == List(ClassLabel(names=NAMES))
        assert set(rows["lang"]) == {lang} and list(rows["row"]) == list(range(len(rows)))
