"""Models trained on IOB1 (some I-X without B-X): they tag in IOB2, and are scored by entity."""

import json

import pytest
import torch
from accelerate import Accelerator
from transformers import AutoModelForTokenClassification

from ner.inference import tag as tag_module
from ner.inference.trained import load, score
from ner.options import Options
from ner.schemes import iob1_to_iob2
from tests.helpers.folders import LEXICON, lexicon_folder, tiny_folder
from tests.helpers.known import SENTENCES, tag, write_data
from tests.helpers.layouts import IOB1

INSIDE = ("I-PER", "I-ORG", "I-LOC", "O")
OF_IOB1 = {word: "I-" + tag[2:] for word, tag in LEXICON.items()}


@pytest.fixture(scope="module", params=[IOB1, INSIDE], ids=["8 labels", "I- only"])
def of_iob1(request, tmp_path_factory):
    folder = lexicon_folder(tmp_path_factory.mktemp("iob1") / "model", request.param, OF_IOB1)
    return load(str(folder), Accelerator(cpu=True))


def test_a_model_of_iob1_tags_in_iob2(of_iob1):
    (tagged, empty, single) = tag(of_iob1, "Anna Keller wohnt in Bern.", "", "Keller Post Genf Bern und Bern")
    assert tagged.tags == ["B-PER", "I-PER", "O", "O", "B-LOC", "O"] and empty.tags == []
    assert single.tags == ["B-PER", "B-ORG", "B-LOC", "I-LOC", "O", "B-LOC"]
    assert [one.tags for one in tag(of_iob1, "", " ")] == [[], []] and tag(of_iob1) == []
    assert [entity["text"] for entity in json.loads(tag_module.as_json(single))["entities"]] == [
        "Keller", "Post", "Genf Bern", "Bern"]


def test_a_model_of_iob1_is_scored_by_entity(tmp_path, of_iob1):
    """Two LOC side by side in the data are two entities there, whatever this model can say."""
    data = write_data(tmp_path, sentences=[*SENTENCES, [("Genf", "B-LOC"), ("Bern", "B-LOC"), ("Post", "B-ORG")]])
    options, accelerator = Options(data_dir=str(data)), Accelerator(cpu=True)
    languages, scored = score(of_iob1._replace(options=options), ["de"], "test", accelerator)
    figures = scored["de"].metrics
    assert figures["by_type"]["LOC"]["support"] == 5 and figures["by_type"]["PER"]["precision"] == 1 / 2
    assert (figures["precision"], figures["recall"]) == (4 / 7, 4 / 7)
    assert figures["f1_strict"] == figures["f1"], "each of its entities begins with a B-"
    named = of_iob1.tags.names_of(scored["de"].predictions.labels)
    assert named[:7] == ["B-PER", "I-PER", "O", "O", "B-LOC", "O", "O"] and named[-3:] == ["B-LOC", "I-LOC", "B-ORG"]
    assert len(scored["de"].predictions.labels) == len(languages["de"].gold)


def test_words_without_annotation_and_a_model_of_iob1(tmp_path, of_iob1):
    data = write_data(tmp_path, sentences=[[("Anna", "?"), ("Keller", "I-PER"), ("und", "O"), ("Bern", "B-LOC")]])
    _, scored = score(of_iob1._replace(options=Options(data_dir=str(data))), ["de"], "test", Accelerator(cpu=True))
    assert of_iob1.tags.names_of(scored["de"].predictions.labels) == ["B-PER", "I-PER", "O", "B-LOC"]
    assert scored["de"].predictions.loss[0] == 0 and scored["de"].metrics["words_without_annotation"] == 1


def test_losses_of_a_model_of_iob1_are_those_of_its_own_labels(tmp_path, of_iob1):
    """Of a word that opens an entity, that of I-; of one right after another entity of its type, that of B- where the
    model has it. Also in windows that begin within a sentence."""
    words = ["Genf", "Bern", "Keller", "und"] * 30
    data = write_data(tmp_path, sentences=[list(zip(words, ["B-LOC", "B-LOC", "B-PER", "O"] * 30, strict=True))])
    options = Options(data_dir=str(data), max_length=24, stride=8)
    _, scored = score(of_iob1._replace(options=options), ["de"], "test", Accelerator(cpu=True))
    names = of_iob1.tags.names
    answers = [of_iob1.model.classifier(torch.nn.functional.layer_norm(torch.eye(16)[names.index(tag)], (16,)))
               for tag in ("I-LOC", "I-LOC", "I-PER", "O")]
    second = "B-LOC" if names[0] == "B-LOC" else "I-LOC"
    gold = [names.index(tag) for tag in ("I-LOC", second, "I-PER", "O")]
    expected = [-logits.log_softmax(0)[label].item() for logits, label in zip(answers, gold, strict=True)]
    assert scored["de"].predictions.loss.tolist() == pytest.approx(expected * 30, abs=1e-3)


def test_a_bert_of_iob1_tags_as_transformers_does(tmp_path):
    """The layout of bert-large-cased-finetuned-conll03-english."""
    trained = load(str(tiny_folder(tmp_path / "model", "bert", tags=IOB1)), Accelerator(cpu=True))
    assert trained.tags.names == (*IOB1, "B-PER") and trained.options.max_length == 64
    (tagged,) = tag(trained, "Anna Keller wohnt in Bern und arbeitet bei der Post in Genf.")
    ids = trained.tokenizer([word.text for word in tagged.words], is_split_into_words=True, return_tensors="pt")
    theirs = AutoModelForTokenClassification.from_pretrained(tmp_path / "model").eval()
    logits = theirs(**ids).logits[0]
    first = [ids.word_ids().index(i) for i in range(len(tagged.words))]
    assert tagged.tags == iob1_to_iob2([IOB1[label] for label in logits.argmax(-1)[first]])
    assert tagged.confidence == pytest.approx(logits.softmax(-1).max(-1).values[first].tolist(), abs=1e-5)
    assert len(set(tagged.tags)) > 2
