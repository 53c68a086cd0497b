"""The mean of a run's weights: when its snapshots are taken, that it is their mean, and that the better one is kept."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ner.training import averaging
from tests.helpers import doubles, runs


@pytest.mark.parametrize("average, average_from, total, per_epoch, expected", [
    ("none", 0.3, 30, 10, []),
    ("epoch", 0.0, 30, 10, [10, 20, 30]), ("epoch", 0.3, 30, 10, [10, 20, 30]), ("epoch", 0.5, 30, 10, [20, 30]),
    ("epoch", 0.3, 25, 10, [10, 20, 25]), ("epoch", 0.0, 7, 10, [7]),
    ("2", 0.0, 30, 10, [15, 30]), ("3", 0.3, 30, 10, [16, 23, 30]), ("7", 0.3, 10, 5, [4, 5, 6, 7, 8, 9, 10]),
    ("999", 0.5, 10, 5, [6, 7, 8, 9, 10]), ("4", 0.9, 1, 1, [1]), ("2", 0.99, 3, 3, [3])])
def test_snapshots_are_taken_after_these_steps(average, average_from, total, per_epoch, expected):
    assert averaging.snapshot_steps(average, average_from, total, per_epoch) == expected


def test_the_mean_is_that_of_all_snapshots_in_fp32():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)).bfloat16()
    model[1].bias.requires_grad = False
    mean: dict[str, torch.Tensor] = {}
    seen: dict[str, list[np.ndarray]] = {}
    for taken in range(9):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter += torch.randn_like(parameter)
                seen.setdefault(name, []).append(parameter.double().numpy())
        averaging.add_snapshot(mean, model, taken)
    assert mean.keys() == seen.keys() - {"1.bias"}
    for name, tensor in mean.items():
        assert tensor.dtype == torch.float32
        assert np.allclose(tensor.numpy(), np.mean(seen[name], axis=0), atol=1e-6)
    frozen = model[1].bias.clone()
    averaging.load(model, mean)
    assert torch.equal(model[0].weight, mean["0.weight"].bfloat16()) and torch.equal(model[1].bias, frozen)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return runs.make_recipe(tmp_path_factory.mktemp("averaging"), average="4", average_from=0.4, weight_decay=0.5,
                            learning_rate=1e-3)


def trained(recipe, folder, *options: str, prepare=doubles.keep_checkpoints) -> dict:
    status, log = runs.run_forked(runs.arguments(recipe, folder, *options), folder.with_suffix(".log"), prepare)
    assert status == 0, log
    return json.loads((folder / "results.json").read_text())


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.slow
def test_the_saved_model_is_the_mean_of_the_weights_after_these_steps(recipe, tmp_path):
    """Each snapshot as the model of a run that selects the last of its steps, by the same schedule, without active
    vocabulary: so the embedding rows that the data do not use are averaged, too."""
    results = trained(recipe, tmp_path / "mean")
    average = results["train"]["average"]
    assert average["updates"] == [16, 21, 26, 30] and average["kept"]
    assert average["validation"].keys() == {"de", "fr"} and 0 <= average["mean_f1"] <= 1
    full = ("--active_vocabulary", "false", "--average", "none", "--average_from", "0.3", "--checkpoint_every", "1")
    weights: list[dict[str, torch.Tensor]] = []
    trained(recipe, tmp_path / "last", *full, prepare=keep_all)
    for step in average["updates"]:
        weights.append(load_file(tmp_path / "last" / "checkpoints" / f"step-{step}" / "weights.safetensors"))
    ours = load_file(tmp_path / "mean" / "model" / "model.safetensors")
    assert ours.keys() == weights[0].keys()
    for name, tensor in ours.items():
        expected = torch.stack([one[name] for one in weights]).mean(0)
        assert relative(tensor, expected) < 2e-5, name
    table = "roberta.embeddings.word_embeddings.weight"
    assert relative(ours[table], weights[-1][table]) > 5e-4, "the last weights would not pass"
    scores = dict(runs.curves(tmp_path / "mean"))
    assert scores["average_f1/mean"] == [(30, pytest.approx(average["mean_f1"]))]


def keep_all() -> None:
    """Keep every checkpoint of a run, not only the last two."""
    doubles.keep_checkpoints()
    doubles.replace_for_good("ner.training.checkpoint.KEPT", 10**9)


@pytest.mark.slow
def test_the_mean_is_left_where_the_selected_epoch_is_better(recipe, tmp_path):
    """At this rate, the first steps, of which the mean has most, know nothing; the run is then that without it."""
    options = ("--average_from", "0", "--learning_rate", "2e-2")
    results = trained(recipe, tmp_path / "mean", *options)
    without = trained(recipe, tmp_path / "none", "--average", "none", "--average_from", "0.3", *options[2:])
    average = results["train"].pop("average")
    assert average["updates"] == [8, 15, 22, 30]
    assert average["kept"] == (average["mean_f1"] >= results["train"]["epochs"][-1]["mean_f1"])
    assert not average["kept"]
    assert results["eval"] == without["eval"] and results["train"]["epochs"] == without["train"]["epochs"]
    ours, theirs = (runs.tensors(tmp_path / name / "model") for name in ("mean", "none"))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
