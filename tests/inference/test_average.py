"""Several models as one: the mean of every tensor, what transformers reads of it, its scores, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForTokenClassification

from ner.inference.trained import options_of
from ner.options import Options
from tests.helpers.commands import call, refused
from tests.helpers.folders import TAGS, tiny_folder
from tests.helpers.known import make_run, write_data


def change(folder, number):
    """The weights of a folder, other for each number."""
    path = folder / "model.safetensors"
    generator = torch.Generator().manual_seed(number)
    state = {name: tensor + torch.randn(tensor.shape, generator=generator) for name, tensor in load_file(path).items()}
    save_file(state, path, {"format": "pt"})
    return state


@pytest.mark.parametrize("family", ["xlm-roberta", "bert"])
def test_every_tensor_is_the_mean_of_the_members(tmp_path, capsys, family):
    folders = [tiny_folder(tmp_path / str(number), family) for number in range(3)]
    states = [change(folder, number) for number, folder in enumerate(folders)]
    assert call(capsys, "average", *folders, "--output", tmp_path / "mean")[0] == 0
    found = AutoModelForTokenClassification.from_pretrained(tmp_path / "mean").state_dict()
    for name, tensor in states[0].items():
        mean = torch.stack([state[name] for state in states]).double().mean(0)
        torch.testing.assert_close(found[name].double(), mean, atol=1e-6, rtol=1e-6)
        assert not torch.allclose(found[name], tensor)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    for lang in ("de", "fr"):
        write_data(folder / "data", lang, "validation")
    return [make_run(folder / f"seed-{number}", folder / "data", decode="argmax", max_length=24) for number in (1, 2)]


def test_members_and_mean_are_scored(runs, tmp_path, capsys):
    """The mean of two models that are the same is that model; runs know their data, their options and decoding."""
    out = tmp_path / "out"
    status, shown, _ = call(capsys, "average", *runs, "--output", out)
    assert status == 0
    lines = [line.split() for line in shown[shown.index("F1 on the validation sentences") :].split("\n")[1:5]]
    assert lines[0] == ["model", "de", "fr", "mean"]
    assert [line[-3:] for line in lines[1:]] == [["66.67"] * 3] * 3
    assert [line[:-3] for line in lines[1:]] == [[str(runs[0])], [str(runs[1])], "mean of the weights".split()]
    about = json.loads((out / "export.json").read_text())
    assert about["mean_of"] == ["seed-1", "seed-2"] and about["f1"] == [
        dict.fromkeys(("de", "fr", "mean"), pytest.approx(2 / 3))] * 3
    assert options_of(str(out)) == Options(model=str(out), max_length=24, decode="argmax")
    card = (out / "README.md").read_text()
    assert "mean of the weights of 2 models" in card and "66.67" in card and str(tmp_path) not in card
    assert str(runs[0].parent) not in card
    answers = [call(capsys, "tag", model, "Anna Keller in Bern", "--jsonl")[1] for model in (runs[0], out)]
    assert answers[0] == answers[1] and "Anna Keller" in answers[0]


def test_what_cannot_be_averaged(runs, tmp_path, capsys):
    one = tiny_folder(tmp_path / "one")
    other = {"tags": tiny_folder(tmp_path / "tags", tags=(*TAGS[:3], *TAGS[5:], *TAGS[3:5])),
             "layers": tiny_folder(tmp_path / "layers", hidden_size=32),
             "subwords": tiny_folder(tmp_path / "subwords", words=["Anna", "Kehler", "wohnt", "in", "Bern", "und",
                                     "arbeitet", "bei", "der", "Post", "Genf", "nach", "fährt", "."])}
    for what, folder in other.items():
        assert refused(capsys, "average", one, folder, "--output", tmp_path / "out") == (
            f"evaluate.py: {folder}: has other {what} than {one}; expected models that were "
            "trained from one encoder for the same tags")
    assert refused(capsys, "average", one, "--output", tmp_path / "out") == (
        f"evaluate.py: average: expected two models or more, found only {one}")
    assert "no such folder" in refused(capsys, "average", one, tmp_path / "no", "--output", tmp_path / "out")
    assert "already exists" in refused(capsys, "average", one, one, "--output", one)
    assert not (tmp_path / "out").exists()
