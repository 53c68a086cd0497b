"""A checkpoint is complete or absent, restores every part or raises, and contains no pickle."""

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from ner.files import checksum
from ner.options import UserError, with_role
from ner.training import checkpoint
from ner.training.loop import Progress
from tests.helpers import doubles
from tests.helpers.checkpoints import FILES, IDENTITY, make, write


def draws() -> tuple:
    return random.random(), float(np.random.standard_normal()), float(torch.rand(1))


def test_everything_comes_back(tmp_path):
    accelerator, model, optimizer = make(1)
    np.random.standard_normal()  # NumPy keeps the second number of a pair
    write(tmp_path, 7, (accelerator, model, optimizer))
    expected = draws()
    _, other, other_optimizer = make(2, updates=0)
    progress, others = checkpoint.read(tmp_path / "step-7", accelerator, other, other_optimizer, IDENTITY)
    assert progress == Progress(step=7, updates=7, loss_sum=0.1, epochs=[{"f1": 1 / 3}])
    assert torch.equal(others["best"]["classifier.bias"], torch.full((5,), 7.0)) and others["mean"] == {}
    assert draws() == expected
    for ours, theirs in zip(other.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert other_optimizer.state[ours].keys() == optimizer.state[theirs].keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(value, optimizer.state[theirs][key])
                   for key, value in other_optimizer.state[ours].items())


def test_only_safetensors_and_json(tmp_path):
    write(tmp_path, 1)
    folder = tmp_path / "step-1"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for path in folder.iterdir():
        load_file(path) if path.suffix == ".safetensors" else json.loads(path.read_text())


def test_the_newest_two_are_kept(tmp_path):
    (tmp_path / ".step-2.tmp").mkdir(parents=True)  # left by a kill
    for step in (1, 3, 10, 9):  # the last: a run that was continued before 10, which was damaged
        write(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-3", "step-9"]


@pytest.mark.parametrize("best, quick, linked", [(1.0, True, True), (2.0, True, False), (1.0, False, False)])
def test_a_stop_links_the_best_weights_where_they_are_those_of_the_checkpoint_before(tmp_path, best, quick, linked):
    write(tmp_path, 1)
    write(tmp_path, 3, best=best, quick=quick)
    one, other = (tmp_path / name / "best.safetensors" for name in ("step-1", "step-3"))
    assert one.samefile(other) is linked and load_file(other)["classifier.bias"].tolist() == [best] * 5
    assert checkpoint.newest(tmp_path) == (tmp_path / "step-3", [])


def test_a_stop_without_a_readable_checkpoint_before_writes_everything(tmp_path):
    write(tmp_path, 1, quick=True)
    (tmp_path / "step-1" / "best.safetensors").write_bytes(b"cut")
    write(tmp_path, 3, best=1.0, quick=True)
    assert checkpoint.newest(tmp_path) == (tmp_path / "step-3", [])


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "step-2.damaged").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    for step in (1, 3, 5):
        write(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "step-2.damaged", "step-3", "step-5"]


def test_a_damaged_one_does_not_push_out_a_whole_one(tmp_path, written):
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    (tmp_path / "step-2" / "state.json").write_text("{}")
    path, damaged = checkpoint.newest(tmp_path)
    assert path == tmp_path / "step-1" and [checkpoint.set_aside(one).name for one in damaged] == ["step-2.damaged"]
    write(tmp_path, 3)
    assert checkpoint.newest(tmp_path) == (tmp_path / "step-3", [])
    assert {path.name for path in checkpoint.found(tmp_path)} == {"step-1", "step-3"}


def test_all_of_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done, replace = [], os.replace
    doubles.replace(monkeypatch, "sync", lambda path: done.append(path.name))
    monkeypatch.setattr(os, "replace", lambda *names: done.append("renamed") or replace(*names))
    write(tmp_path, 1)
    assert sorted(done[:7]) == sorted([*FILES, "new"]) and done[6:] == ["new", "renamed", tmp_path.name]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "empty", "flip", "missing", "folder"])
def test_damage_is_noticed_and_the_older_one_serves(tmp_path, written, name, damage):
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "step-2" / name
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 16
        path.write_bytes({"cut": content[:-1], "empty": b"", "flip": flipped}[damage])
    assert checkpoint.newest(tmp_path) == (tmp_path / "step-1", [tmp_path / "step-2"])


@pytest.mark.slow
def test_every_byte_counts(tmp_path, written):
    """A flip anywhere in the two small files, and in places of the large ones."""
    shutil.copytree(written / "step-2", tmp_path, dirs_exist_ok=True)
    for name in FILES:
        path = tmp_path / name
        content = path.read_bytes()
        for place in range(0, len(content), 1 if path.name == "manifest.json" else max(1, len(content) // 50)):
            flipped = bytearray(content)
            flipped[place] ^= 1
            path.write_bytes(flipped)
            assert not checkpoint.whole(tmp_path), (name, place)
        path.write_bytes(content)
    assert checkpoint.whole(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for step in (1, 2):
        write(folder, step)
    return folder


@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b"1", b'{"state.json": 5}', b'{"../x": ""}', b"\xff"])
def test_a_manifest_that_is_none_is_damage(tmp_path, written, content):
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    (tmp_path / "step-2" / "manifest.json").write_bytes(content)
    assert checkpoint.newest(tmp_path) == (tmp_path / "step-1", [tmp_path / "step-2"])


def test_without_a_whole_one(tmp_path):
    assert checkpoint.newest(tmp_path / "none") == (None, [])
    (tmp_path / "step-5").mkdir()
    (tmp_path / "step-x").mkdir()
    assert checkpoint.newest(tmp_path) == (None, [tmp_path / "step-5"])


def rewrite(path: Path, change) -> None:
    """Change a tensor file or the state of a checkpoint, with a manifest that agrees."""
    if path.suffix == ".json":
        state = json.loads(path.read_text())
        change(state)
        path.write_text(json.dumps(state))
    else:
        content = load_file(path)
        change(content)
        save_file(content, path)
    manifest = path.parent / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), path.name: checksum(path)}))


@pytest.mark.parametrize("name, change", [
    ("weights", lambda t: t.pop("classifier.bias")),
    ("weights", lambda t: t.update(more=torch.zeros(1))),
    ("weights", lambda t: t.update({"classifier.bias": torch.zeros(6)})),
    ("moments", lambda t: t.pop("exp_avg/classifier.bias")),
    ("moments", lambda t: t.pop("step/classifier.bias")),
    ("moments", lambda t: t.update({"exp_avg/other": torch.zeros(5)})),
    ("moments", lambda t: t.update({"exp_avg_sq/classifier.bias": torch.zeros(1)})),
    ("random", lambda t: t.pop("0/torch")),
    ("random", lambda t: t.pop("0/words")),
    ("random", lambda t: t.update({"0/torch": torch.zeros(3, dtype=torch.uint8)})),
    ("state", lambda s: s["progress"].pop("updates") and s["progress"].update(other=1)),
    ("state", lambda s: s.pop("processes")),
    ("state", lambda s: s.pop("identity")),
    ("state", lambda s: s.update(identity=None)),
    ("state", lambda s: s.update(progress=[])),
])
def test_a_part_that_does_not_load_raises(tmp_path, written, name, change):
    shutil.copytree(written / "step-2", tmp_path, dirs_exist_ok=True)
    rewrite(tmp_path / f"{name}.{'json' if name == 'state' else 'safetensors'}", change)
    assert checkpoint.whole(tmp_path)
    accelerator, model, optimizer = make(3, updates=0)
    with pytest.raises(UserError, match="a part does not load") as caught:
        checkpoint.read(tmp_path, accelerator, model, optimizer, IDENTITY)
    assert "\n" not in str(caught.value)


def test_what_differs_is_listed(written):
    with pytest.raises(UserError) as error:
        checkpoint.read(written / "step-2", *make(3, updates=0),
                        {**IDENTITY, "seed": 7, "tag set": ("O", "B-LOC"), "new": None})
    text = str(error.value)
    assert "seed: 42 before, 7 now" in text and "tag set: ['O', 'B-PER'] before, ['O', 'B-LOC'] now" in text
    assert "batch_size" not in text
    assert "seed" in with_role({"seed": 1, "log_every": 2, "resume": True}, "changes_result")
    assert with_role({"log_every": 2, "output_dir": "x", "checkpoint_every": "epoch"}, "changes_result") == {}


def test_the_same_folder_under_another_name_does_not_differ(tmp_path):
    before, now = {"data_dir": str(tmp_path / "x" / ".." / "data")}, {"data_dir": str(tmp_path / "data")}
    checkpoint.compare(tmp_path, before, now)
    for other in ({"data_dir": None}, {"data_dir": str(tmp_path)}):
        with pytest.raises(UserError, match="these differ: data_dir"):
            checkpoint.compare(tmp_path, before, other)


@pytest.mark.slow
@pytest.mark.parametrize("failing", FILES)
def test_a_write_that_fails_loses_neither_the_older_one_nor_its_message(tmp_path, monkeypatch, failing):
    write(tmp_path, 1)
    before = {path.name: path.read_bytes() for path in (tmp_path / "step-1").iterdir()}
    save, write_text = doubles.original("save_checkpoint"), Path.write_text

    def full(path):
        if Path(path).name == failing:
            raise OSError(28, "No space left on device")

    doubles.replace(monkeypatch, "save_checkpoint", lambda content, path: full(path) or save(content, path))
    monkeypatch.setattr(Path, "write_text", lambda path, *text, **more: full(path) or write_text(path, *text, **more))
    with pytest.raises(UserError, match=r"step-2: the checkpoint could not be written \(.*No space left.*--resume"):
        write(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "step-1").iterdir()} == before


def test_a_scaler_is_restored(tmp_path):
    accelerator, model, optimizer = make(1)
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    write(tmp_path, 1, (accelerator, model, optimizer))
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    accelerator.scaler.scale(torch.ones(1))  # its scale is made at first use
    checkpoint.read(tmp_path / "step-1", accelerator, model, optimizer, IDENTITY)
    assert accelerator.scaler.get_scale() == 8.0


def test_a_rank_beyond_those_of_the_checkpoint_keeps_its_random_state(tmp_path, monkeypatch):
    accelerator, model, optimizer = make(1)
    write(tmp_path, 1, (accelerator, model, optimizer))
    monkeypatch.setattr(Accelerator, "process_index", 1)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    checkpoint.read(tmp_path / "step-1", accelerator, model, optimizer, IDENTITY)
    assert torch.equal(torch.get_rng_state(), before)
