"""Folders in the layouts that people bring: what loads is the same model before and after, in transformers, too.

docs/encoders.md lists these kinds; a kind that is not tried here is not listed.
"""

import re

import pytest
import torch
from transformers import AutoModel, AutoModelForTokenClassification, AutoTokenizer, pipeline

from ner.data import alignment
from ner.model import packing, pretrained
from ner.options import UserError
from tests.helpers import layouts
from tests.helpers.folders import TAGS, opened, tiny_folder
from tests.helpers.models import batch_of
from tests.helpers.paths import ROOT

SENTENCE = ["Anna", "Kellers", "fährt", "nach", "Genf", ",", "Zürich", "und", "Bern", "."]
LOADS = {
    "XLM-R, pretrained": layouts.of_xlmr,
    "XLM-R, larger vocabulary": lambda folder: layouts.of_xlmr(folder, vocab_size=300),
    "XLM-R, first conversions": layouts.of_fairseq,
    "XLM-R, long windows": layouts.long_windows,
    "XLM-R, bfloat16": layouts.half,
    "XLM-R, float16": lambda folder: layouts.half(folder, torch.float16),
    "RoBERTa, byte-level BPE": lambda folder: layouts.encoder(folder, "roberta"),
    "RoBERTa, several files": layouts.sharded,
    "RoBERTa, WordPiece": layouts.of_camembertv2,
    "CamemBERT": lambda folder: layouts.encoder(folder, "camembert"),
    "BERT, pretrained": layouts.of_mbert,
    "BERT, vocab.txt": layouts.of_gbert,
    "BERT, sentence encoder": layouts.of_labse,
    "BERT, vocabulary of XLM-R": layouts.of_e5,
}


def without(*names):
    def change(folder):
        layouts.of_xlmr(folder)
        for name in names:
            (folder / name).unlink()
    return change


def configured(**changes):
    def change(folder):
        layouts.set_json(layouts.of_xlmr(folder) / "config.json", **changes)
    return change


REFUSED = {
    "pytorch_model.bin alone": (without("model.safetensors"), "--model_revision refs/pr/N"),
    "sentencepiece.bpe.model alone": (without("tokenizer.json"), "AutoTokenizer.from_pretrained"),
    "relative or rotary positions": (configured(position_embedding_type="rotary"), "expected 'absolute'"),
    "decoder": (configured(is_decoder=True), "expected an encoder"),
    **{f"model_type {kind}": (configured(model_type=kind), f"model_type is '{kind}'") for kind in (
        "xlm-roberta-xl", "xmod", "deberta-v2", "modernbert", "eurobert", "distilbert", "electra", "longformer")},
}


def ids_of(tokenizer, words):
    ((window,),) = alignment.encode([words], [[0] * len(words)], tokenizer, 4096, 0)
    return window.input_ids.tolist()


@pytest.mark.parametrize("kind", LOADS)
def test_an_encoder_loads_and_its_export_is_the_same_model_in_transformers(tmp_path, kind):
    folder = tmp_path / "encoder"
    LOADS[kind](folder)
    config = pretrained.load_config(folder)
    tokenizer = pretrained.load_tokenizer(folder, config)
    config.num_labels, body = len(TAGS), AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    ours = pretrained.load_model(folder, config, "packed", None, torch.Generator().manual_seed(5), TAGS).eval()
    batch = batch_of([13, 7, 3], config.vocab_size)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    ids[mask == 0] = config.pad_token_id  # RoBERTa of transformers counts positions by it
    ids[ids == config.pad_token_id] += 2 * mask[ids == config.pad_token_id]
    with torch.inference_mode():
        expected = ours.classifier(body(ids, attention_mask=mask).last_hidden_state).flatten(0, 1)
        expected = expected[packing.token_index(mask)]
        assert expected.std() > 0.1 and torch.allclose(ours(ids, mask), expected, atol=1e-5, rtol=0)

        saved = tmp_path / "saved"
        pretrained.save_model(saved, dict(ours.named_parameters()), config, tokenizer, TAGS, "card")
        theirs, info = AutoModelForTokenClassification.from_pretrained(saved, output_loading_info=True)
        logits = theirs.eval()(ids, attention_mask=mask).logits.flatten(0, 1)[packing.token_index(mask)]
    assert type(theirs).__name__ == pretrained.FAMILY[config.model_type].architecture and not any(info.values())
    assert (theirs.config.max_position_embeddings, theirs.config.type_vocab_size) == (
        body.config.max_position_embeddings, body.config.type_vocab_size)
    assert torch.allclose(logits, expected, atol=1e-5, rtol=0)
    reloaded = dict(opened(saved)[0].named_parameters())
    assert all(tensor.equal(reloaded[name]) for name, tensor in ours.named_parameters())

    ids = ids_of(tokenizer, SENTENCE)
    piped = pipeline("token-classification", model=str(saved)).tokenizer
    assert ids == ids_of(opened(saved)[2], SENTENCE) == piped(SENTENCE, is_split_into_words=True).input_ids
    assert ids == AutoTokenizer.from_pretrained(saved)(" ".join(SENTENCE)).input_ids
    assert len(set(ids)) > 10 and ids.count(tokenizer.unk_token_id) < 3, "the words are known"


def test_bert_pads_as_its_tokenizer_does_and_roberta_as_both_do(tmp_path):
    folder = layouts.of_e5(tmp_path / "e5")
    assert pretrained.load_tokenizer(folder, pretrained.load_config(folder)).pad_token_id == 1
    layouts.set_json(folder / "config.json", model_type="xlm-roberta")
    with pytest.raises(UserError, match=r"the tokenizer pads with id 1, config\.json says 0"):
        pretrained.load_tokenizer(folder, pretrained.load_config(folder))


@pytest.mark.parametrize("family", pretrained.FAMILY)
@pytest.mark.parametrize("tags", [TAGS, layouts.IOB1])
def test_a_fine_tuned_model_of_each_family_keeps_its_head(tmp_path, family, tags):
    folder = tiny_folder(tmp_path / "model", family, tags=tags)
    assert pretrained.tags_of(opened(folder)[1]) == tags


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_load_is_refused_with_its_cause(tmp_path, kind):
    make, message = REFUSED[kind]
    make(tmp_path / "model")
    with pytest.raises(UserError, match=re.escape(message)):
        opened(pretrained.folder_of(str(tmp_path / "model")))


def test_the_tables_of_the_documentation_list_what_was_tried():
    text = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    loads, refused = (re.findall(r"^\| ([^|]+) \|", part.replace("`", ""), re.MULTILINE)
                      for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:])
    assert loads == ["kind of folder", *LOADS] and refused == ["kind of folder", *REFUSED]
