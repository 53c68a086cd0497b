"""ONNX files of a model: the logits of transformers, of any batch, and the same tags; what is refused."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from transformers import AutoModelForTokenClassification

from ner.inference import export, onnx_file
from ner.inference.trained import labelled_rows, load, scored_rows
from tests.helpers.commands import call, refused
from tests.helpers.folders import tiny_folder
from tests.helpers.known import make_run, write_data
from tests.helpers.paths import ROOT

onnxruntime = pytest.importorskip("onnxruntime")
TEXT = [["Anna", "wohnt", "in", "Genf", "."], ["fährt", "nach", "Bern", "xyz"]]


def write_all(folder) -> None:
    for lang in ("de", "fr"):
        for split in ("train", "validation", "test"):
            write_data(folder, lang, split)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["xlm-roberta", "camembert", "bert"])
def test_logits_of_any_batch_equal_those_of_transformers(family, tmp_path):
    trained = load(str(tiny_folder(tmp_path / "full", family)), Accelerator(cpu=True))
    export.export(trained, tmp_path / "small", TEXT, {}, "float16", Accelerator(cpu=True), onnx=True)
    theirs = AutoModelForTokenClassification.from_pretrained(tmp_path / "small", dtype=torch.float32).eval()
    session = onnxruntime.InferenceSession(tmp_path / "small" / "model.onnx", providers=["CPUExecutionProvider"])
    config, generator = theirs.config, torch.Generator().manual_seed(0)
    longest = config.max_position_embeddings - config.pad_token_id - 1
    for rows, width in ((1, 1), (3, 7), (5, longest)):
        ids = torch.randint(config.pad_token_id + 1, config.vocab_size, (rows, width), generator=generator)
        mask = (torch.arange(width) < torch.randint(1, width + 1, (rows, 1), generator=generator)).long()
        ids = torch.where(mask.bool(), ids, config.pad_token_id)
        with torch.no_grad():
            expected = theirs(input_ids=ids, attention_mask=mask).logits
        (found,) = session.run(["logits"], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        assert found.shape == expected.shape
        assert np.allclose(found[mask.bool().numpy()], expected[mask.bool()], atol=1e-5)


@pytest.mark.slow
def test_a_run_with_both_files(tmp_path, capsys):
    """Their F1 is beside that of the model, and fp32 gives each word the same tag and nearly the same probability. By
    argmax: among legal tags, the model of `lexicon_folder` has ties."""
    write_all(tmp_path / "data")
    run, out = make_run(tmp_path / "run", tmp_path / "data", decode="argmax", max_length=24), tmp_path / "out"
    status, shown, _ = call(capsys, "export", run, "--output", out, "--int8")
    assert status == 0 and shown.split("\n")[0].split() == ["before", "after", "model.onnx", "model.int8.onnx"]
    report = json.loads((out / "export.json").read_text())
    assert report["models"] == ["before", "after", "model.onnx", "model.int8.onnx"] and len(report["megabytes"]) == 4
    assert all(len(set(f1[:3])) == 1 and len(f1) == 4 for f1 in report["f1"].values()), report["f1"]
    assert report["other_tags"][:3] == [0, 0, 0]
    assert f"words with other tags, of {report['scored_words']}  " in shown
    accelerator = Accelerator(cpu=True)
    trained = load(str(out), accelerator)
    test = labelled_rows(trained._replace(options=load(str(run), accelerator).options), ["de", "fr"], "test")
    model = onnx_file.OnnxModel(out / "model.onnx", trained.model)
    ours, theirs = (scored_rows(one, test, accelerator)[1] for one in (trained, trained._replace(model=model)))
    for lang in test:
        assert np.array_equal(ours[lang].predictions.labels, theirs[lang].predictions.labels)
        assert np.allclose(ours[lang].predictions.confidence, theirs[lang].predictions.confidence, atol=1e-5)
    assert call(capsys, "tag", out, "Anna Keller")[0] == 0, "the folder is still a model"


def test_without_the_packages_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    write_all(tmp_path / "data")
    run = make_run(tmp_path / "run", tmp_path / "data")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    message = refused(capsys, "export", run, "--output", tmp_path / "out", "--onnx")
    assert message.endswith("expected pip install onnx onnxruntime onnxscript") and not (tmp_path / "out").exists()


def test_nothing_else_needs_them():
    program = "import sys; sys.modules['onnxruntime'] = sys.modules['onnx'] = None; import ner.inference.export"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
