"""When a run writes checkpoints, and what must be the same for one to be continued."""

import json
import signal
from pathlib import Path

import pytest
import torch
import transformers
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from ner.experiment import experiment
from ner.experiment.resume import identity_of
from ner.options import resolve
from ner.recipe import read_recipe
from ner.training import checkpoint
from tests.helpers import doubles, runs


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return runs.make_recipe(tmp_path_factory.mktemp("identity"))


@pytest.mark.slow
@pytest.mark.parametrize("every, on_disk", [("epoch", [10, 20]), ("7", [14, 21]), ("none", [])])
def test_checkpoints_come_as_often_as_asked_for(recipe, tmp_path, every, on_disk):
    argv = runs.arguments(recipe, tmp_path / "run", "--checkpoint_every", every)
    status, log = runs.run_forked(argv, tmp_path / "log", doubles.signal_at, 24, signal.SIGKILL)
    assert status == -signal.SIGKILL, log
    assert sorted(map(checkpoint.step_of, checkpoint.found(tmp_path / "run" / "checkpoints"))) == on_disk


@pytest.mark.slow
def test_a_run_without_checkpoints_writes_one_when_stopped(recipe, tmp_path):
    argv = runs.arguments(recipe, tmp_path / "run", "--checkpoint_every", "none")
    status, log = runs.run_forked(argv, tmp_path / "log", doubles.signal_at, 3, signal.SIGTERM)
    assert status == 143 and "continue with" in log
    assert [path.name for path in checkpoint.found(tmp_path / "run" / "checkpoints")] == ["step-4"]


def test_the_identity_holds_all_that_a_result_depends_on(recipe, tmp_path):
    options = resolve(read_recipe(recipe))
    state = experiment.build(options, Path("unused"), Accelerator(cpu=True))
    found = identity_of(state)
    assert {"data_dir", "batch_size", "micro_batch_size", "seed", "attention", "active_vocabulary", "model", "dropout",
            "learning_rate", "tags", "max_length", "stride", "fractions", "exclude", "select", "epochs"} <= set(found)
    assert not {"output_dir", "resume", "log_every", "checkpoint_every"} & set(found)
    assert found["tag set"] == state.tags.names and found["training sentences"] == 37 and found["precision"] == "no"
    assert (found["torch"], found["transformers"]) == (torch.__version__, transformers.__version__)
    state.test["de"].windows[0][0].labels[1] = 6
    assert identity_of(state)["checksum of the encoded data"] != found["checksum of the encoded data"]
    tensors = load_file(state.source / "model.safetensors")
    table = next(tensor for name, tensor in tensors.items() if name.endswith("word_embeddings.weight"))
    table[-1, -1] += 1
    (tmp_path / "other").mkdir()
    save_file(tensors, tmp_path / "other" / "model.safetensors", {"format": "pt"})
    (tmp_path / "other" / "config.json").symlink_to(state.source / "config.json")
    embeddings, state.source = "checksum of the encoder's embeddings", tmp_path / "other"
    assert identity_of(state)[embeddings] != found[embeddings]


@pytest.mark.slow
def test_another_version_is_named(recipe, tmp_path):
    argv = runs.arguments(recipe, tmp_path / "run", "--resume")
    assert runs.run_forked(argv, tmp_path / "log", doubles.signal_at, 3, signal.SIGTERM)[0] == 143
    (folder,) = checkpoint.found(tmp_path / "run" / "checkpoints")
    state = json.loads((folder / "state.json").read_text())
    assert state["progress"]["step"] == 4 and state["processes"] == 1
    state["identity"]["torch"] = "1.0"
    (folder / "state.json").write_text(json.dumps(state))
    sums = json.loads((folder / "manifest.json").read_text())
    sums["state.json"] = checkpoint.checksum(folder / "state.json")
    (folder / "manifest.json").write_text(json.dumps(sums))
    status, log = runs.run_forked(argv, tmp_path / "log")
    assert status == 2 and f"these differ: torch: '1.0' before, '{torch.__version__}' now\n" in log
