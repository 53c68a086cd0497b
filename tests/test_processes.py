"""1, 2 and 3 processes that really run (gloo, on the CPU) take the same steps; what happens when one of them ends."""

import json
import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file

from ner.training import checkpoint
from tests.helpers import doubles, runs, steps
from tests.helpers.processes import together

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """66 sentences in batches of 64: the second step has two of them, and a third process none."""
    folder = tmp_path_factory.mktemp("processes")
    path = runs.make_recipe(folder, batch_size=64, learning_rate=1e-3, epochs=10)
    os.rename(folder / "data", folder / "small")
    runs.make_corpus(folder / "data", {"de": (66, 10, 31), "fr": (1, 1, 1)})
    return path


@pytest.fixture(scope="module")
def alone(recipe) -> Path:
    folder = recipe.parent / "alone"
    assert together(1, recipe.parent / "log", steps.main, str(recipe), str(folder))[0] == [0]
    return folder


def assert_same_steps(one: Path, other: Path, shares: list[list[int]]) -> None:
    ours, theirs = (json.loads((folder / "found.json").read_text()) for folder in (one, other))
    assert ours["shares"] == shares
    assert len(ours["losses"]) == steps.STEPS and ours["losses"] == pytest.approx(theirs["losses"], rel=1e-5)
    assert ours["losses"][-1] < ours["losses"][0] and ours["labels"] == theirs["labels"]
    gradients, expected = (load_file(folder / "gradients.safetensors") for folder in (one, other))
    assert gradients.keys() == expected.keys() and len(gradients) == 2 * 39
    for name, gradient in expected.items():
        if not name.endswith("key.bias"):  # zero in theory: what is there is rounding
            assert gradient.norm() > 0, name
            assert (gradients[name] - gradient).norm() <= 1e-5 * gradient.norm(), name


@pytest.mark.parametrize("processes, micro, shares", [(1, 16, [[64], [2]]), (2, 16, [[32, 32], [1, 1]]),
                                                      (3, None, [[22, 21, 21], [1, 1, 0]])])
def test_processes_and_micro_batches_take_the_same_steps(recipe, alone, tmp_path, processes, micro, shares):
    statuses, log = together(processes, tmp_path / "log", steps.main, str(recipe), str(tmp_path / "out"), micro)
    assert statuses == [0] * processes, log
    assert_same_steps(tmp_path / "out", alone, shares)


def test_the_launcher_starts_two_that_take_the_same_steps(recipe, alone, tmp_path):
    with runs.start([str(recipe), str(tmp_path / "out")], 2, "tests/helpers/steps.py") as process:
        log, _ = process.communicate(timeout=120)
    assert process.returncode == 0, log
    assert_same_steps(tmp_path / "out", alone, [[32, 32], [1, 1]])
    assert len(re.findall(r"^validation +de ", log, re.MULTILINE)) == 1  # the main process alone prints


def first_checkpoint(folder: Path, process) -> None:
    end = time.monotonic() + 90
    while not checkpoint.found(folder / "checkpoints"):
        assert process.poll() is None and time.monotonic() < end, process.communicate()[0]
        time.sleep(0.05)


def test_two_processes_stop_together_and_one_goes_on(recipe, tmp_path):
    options = ("--batch_size", "8", "--dropout", "0", "--epochs", "4", "--checkpoint_every", "4", "--average", "9")
    with runs.start(runs.arguments(recipe, tmp_path / "two", *options), 2) as process:
        first_checkpoint(tmp_path / "two", process)
        process.send_signal(signal.SIGTERM)
        log, _ = process.communicate(timeout=60)
    assert process.returncode != 0 and "continue with: python train.py --resume --output_dir" in log, log
    (*_, last) = sorted(map(checkpoint.step_of, checkpoint.found(tmp_path / "two" / "checkpoints")))
    state = json.loads((tmp_path / "two" / "checkpoints" / f"step-{last}" / "state.json").read_text())
    assert state["processes"] == 2 and len(list((tmp_path / "two").glob("events*"))) == 1
    status, log = runs.run_forked(["--resume", "--output_dir", str(tmp_path / "two")], tmp_path / "log")
    assert status == 0 and f"continuing after step {last} of 36" in log, log
    assert runs.run_forked(runs.arguments(recipe, tmp_path / "one", *options), tmp_path / "log")[0] == 0
    ours, theirs = runs.curves(tmp_path / "two")["train/loss"], runs.curves(tmp_path / "one")["train/loss"]
    assert [step for step, _ in ours] == list(range(1, 37))
    assert np.allclose(ours, theirs, rtol=1e-4)
    for name in ("test.de.tsv", "test.fr.tsv"):
        assert (tmp_path / "two/predictions" / name).read_text() == (tmp_path / "one/predictions" / name).read_text()


@pytest.mark.parametrize("grace", [1, 30])
def test_a_launcher_that_kills_within_a_slow_checkpoint_costs_the_steps_since_the_one_before(
        recipe, tmp_path, monkeypatch, grace):
    """Three seconds for a checkpoint: too much for a launcher that waits for one, but not for its 30."""
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(grace))
    options = ("--batch_size", "8", "--dropout", "0", "--epochs", "3", "--checkpoint_every", "4", "--select", "de")
    with runs.start(runs.arguments(recipe, tmp_path / "two", *options), 2, "tests/helpers/slow_disk.py") as process:
        first_checkpoint(tmp_path / "two", process)
        process.send_signal(signal.SIGTERM)
        log, _ = process.communicate(timeout=90)
    assert process.returncode != 0 and ("continue with: python train.py --resume" in log) is (grace == 30), log
    last, damaged = checkpoint.newest(tmp_path / "two" / "checkpoints")
    assert last is not None and not damaged
    status, log = runs.run_forked(["--resume", "--output_dir", str(tmp_path / "two")], tmp_path / "log")
    assert status == 0 and f"continuing after step {checkpoint.step_of(last)} of 27" in log, log
    assert runs.run_forked(runs.arguments(recipe, tmp_path / "one", *options), tmp_path / "log")[0] == 0
    ours, theirs = (dict(runs.curves(tmp_path / name)["train/loss"]) for name in ("two", "one"))
    assert ours.keys() == theirs.keys() == set(range(1, 28))
    assert np.allclose([ours[step] for step in ours], [theirs[step] for step in ours], rtol=1e-4)


def test_a_study_on_two_processes_is_stopped_continued_and_then_left_alone(recipe, tmp_path):
    """The same command four times: SIGTERM in the first run, to the end, nothing to do; and on one process."""
    shared = {**yaml.safe_load(recipe.read_text()), "batch_size": 8, "dropout": 0.0, "epochs": 2}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**shared, "runs": {"a": {"seed": 1}, "b": {"seed": 2}}}))
    argv = runs.arguments(tmp_path / "study.yaml", tmp_path / "two")

    def start(number: int, *prepare) -> tuple[list[int], str]:
        log = tmp_path / f"log-{number}"
        return together(2, log, runs.train_main, argv, str(log), *prepare)

    statuses, log = start(1, doubles.signal_at, 6, signal.SIGTERM)
    assert statuses == [143, 143] and "run 1 of 2" in log and "or repeat the same command to continue" in log, log
    assert not (tmp_path / "two" / "b").exists()
    statuses, log = start(2)
    assert statuses == [0, 0] and "continuing after step 7 of 18" in log and "2 runs finished" in log, log
    assert log.count("run 2 of 2") == log.count("epoch 2: training loss") / 2 == 1  # the main process alone speaks
    assert [len(list((tmp_path / "two" / name).glob("events*"))) for name in "ab"] == [2, 1]  # and writes
    before = {path: path.stat().st_mtime_ns for name in "ab" for path in (tmp_path / "two" / name).rglob("*")}
    statuses, log = start(3)
    assert statuses == [0, 0] and log.count("is finished\n") == 2, log
    assert {path: path.stat().st_mtime_ns for path in before} == before
    argv = runs.arguments(tmp_path / "study.yaml", tmp_path / "one")
    assert runs.run_forked(argv, tmp_path / "log")[0] == 0
    for name in "ab":
        ours, theirs = (runs.curves(tmp_path / folder / name)["train/loss"] for folder in ("two", "one"))
        assert [step for step, _ in ours] == list(range(1, 19)) and np.allclose(ours, theirs, rtol=1e-4)
        for path in (tmp_path / "one" / name / "predictions").iterdir():
            assert (tmp_path / "two" / name / "predictions" / path.name).read_text() == path.read_text()


@pytest.mark.parametrize("processes", [3, 4])
def test_more_than_two_processes_continue_bit_for_bit(tmp_path, processes):
    """DDP adds gradients up in another order after its first backward pass: with three addends that can be seen."""
    recipe = runs.make_recipe(tmp_path, batch_size=8)

    def run(name: str, *prepare) -> list[int]:
        log = tmp_path / f"{name}.log"
        argv = runs.arguments(recipe, tmp_path / name, *(["--resume"] if (tmp_path / name).exists() else []))
        return together(processes, log, runs.train_main, argv, str(log), *prepare)[0]

    assert run("whole", doubles.keep_checkpoints) == [0] * processes
    assert run("stopped", doubles.signal_at, 6, signal.SIGTERM) == [143] * processes
    assert run("stopped", doubles.keep_checkpoints) == [0] * processes
    runs.assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_process_that_dies_ends_the_run_with_its_message(recipe, tmp_path):
    with runs.start(runs.arguments(recipe, tmp_path / "run", "--epochs", "9999", "--batch_size", "8"), 2) as process:
        first_checkpoint(tmp_path / "run", process)
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(workers) == 2
        os.kill(int(workers[1]), signal.SIGKILL)
        log, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Signal 9 (SIGKILL) received" in log, log
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert checkpoint.newest(tmp_path / "run" / "checkpoints")[0]


def test_a_mistake_ends_all_processes_with_one_sentence(recipe, tmp_path):
    argv = runs.arguments(recipe, tmp_path / "run", "--train_langs", "xx")
    statuses, log = together(2, tmp_path / "log", runs.train_main, argv, str(tmp_path / "log"))
    assert 2 in statuses and 0 not in statuses and not any(status < 0 for status in statuses)
    assert "no language 'xx'; there are de, fr" in log


def no_space() -> None:
    def full(content, path):
        raise OSError(28, "No space left on device")

    doubles.replace_for_good("save_checkpoint", full)


def test_a_disk_that_is_full_ends_all_processes_with_one_sentence(recipe, tmp_path):
    argv = runs.arguments(recipe, tmp_path / "run", "--checkpoint_every", "1")
    statuses, log = together(2, tmp_path / "log", runs.train_main, argv, str(tmp_path / "log"), no_space)
    assert statuses[0] == 2 and 0 not in statuses and not any(status < 0 for status in statuses)
    assert "the checkpoint could not be written ([Errno 28] No space left on device)" in log
