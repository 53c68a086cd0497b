"""Interruptions of a run do not change its result.

Runs that are stopped, killed and continued against a straight one.
"""

import json
import os
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from ner.training import checkpoint
from tests.helpers import doubles, runs
from tests.proofs import kills

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return runs.make_recipe(tmp_path_factory.mktemp("resume"), average="7", average_from=0.2)


@pytest.fixture(scope="module")
def straight(recipe) -> Path:
    """A run that nothing happened to, with its last checkpoint kept."""
    folder = recipe.parent / "straight"
    status, log = runs.run_forked(runs.arguments(recipe, folder), recipe.parent / "log", doubles.keep_checkpoints)
    assert status == 0, log
    return folder


def run(argv: list[str], tmp_path: Path, *prepare, status: int = 0) -> str:
    found, log = runs.run_forked(argv, tmp_path / "log", *prepare)
    assert found == status, log
    return log


def finish(tmp_path: Path) -> str:
    return run(["--resume", "--output_dir", str(tmp_path / "run")], tmp_path, doubles.keep_checkpoints)


@pytest.fixture(scope="module")
def stopped_once(recipe, tmp_path_factory) -> Path:
    """A run with two checkpoints, of steps 4 and 7."""
    folder = tmp_path_factory.mktemp("stopped")
    log = run(runs.arguments(recipe, folder / "run"), folder, doubles.signal_at, 6, signal.SIGTERM, status=143)
    assert f"stopped after step 7 of 30; continue with: python train.py --resume --output_dir {folder / 'run'}" in log
    assert "Traceback" not in log and steps(folder / "run") == [4, 7]
    return folder / "run"


@pytest.fixture
def stopped(stopped_once, tmp_path) -> Path:
    return shutil.copytree(stopped_once, tmp_path / "run")


def steps(folder: Path) -> list[int]:
    return sorted(checkpoint.step_of(path) for path in checkpoint.found(folder / "checkpoints"))


def test_the_same_options_give_the_same_run(recipe, straight, tmp_path):
    run(runs.arguments(recipe, tmp_path / "run"), tmp_path, doubles.keep_checkpoints)
    runs.assert_same_run(tmp_path / "run", straight)
    assert steps(straight) == [28, 30] and max(value for _, value in runs.curves(straight)["f1/mean"]) > 0


def test_a_run_can_be_repeated_from_its_config_yaml(straight, tmp_path):
    run(runs.arguments(straight / "config.yaml", tmp_path / "run"), tmp_path, doubles.keep_checkpoints)
    runs.assert_same_run(tmp_path / "run", straight)


def test_stops_and_kills_leave_no_trace(recipe, straight, tmp_path):
    """Twice within the first epoch (of 10 steps), at its end, two kills within the second, one across its end, and in
    the last step."""
    argv = runs.arguments(recipe, tmp_path / "run", "--resume")
    for step, number, status, on_disk in [(2, signal.SIGTERM, 143, [3]), (6, signal.SIGINT, 130, [4, 7]),
                                          (9, signal.SIGTERM, 143, [8, 10]), (13, signal.SIGKILL, -9, [10, 12]),
                                          (19, signal.SIGKILL, -9, [12, 16]), (23, signal.SIGKILL, -9, [16, 20]),
                                          (29, signal.SIGTERM, 143, [28, 30])]:
        run(argv, tmp_path, doubles.signal_at, step, number, status=status)
        assert steps(tmp_path / "run") == on_disk
    assert "continuing after step 30 of 30" in finish(tmp_path)
    runs.assert_same_run(tmp_path / "run", straight)
    for tag, points in runs.curves(tmp_path / "run").items():
        assert [step for step, _ in points] == sorted({step for step, _ in points}), f"{tag} forks"


def test_a_signal_in_the_last_step_stops_the_run_before_its_test(straight, recipe, tmp_path):
    argv = runs.arguments(recipe, tmp_path / "run")
    log = run(argv, tmp_path, doubles.signal_at, 30, signal.SIGTERM, status=143)
    assert "stopped after step 30 of 30; continue with" in log and not (tmp_path / "run" / "results.json").exists()
    run([*argv, "--resume"], tmp_path, doubles.keep_checkpoints)
    runs.assert_same_run(tmp_path / "run", straight)


def test_checkpoints_are_removed_when_the_run_has_finished(recipe, tmp_path):
    run(runs.arguments(recipe, tmp_path / "run", "--max_steps", "3"), tmp_path)
    assert sorted(path.name.split(".")[0] for path in (tmp_path / "run").iterdir()) == [
        "config", "events", "model", "predictions", "results"]


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json"])
def test_the_older_checkpoint_serves(stopped, straight, tmp_path, name):
    path = stopped / "checkpoints" / "step-7" / name
    path.write_bytes(path.read_bytes()[:-1])
    log = finish(tmp_path)
    assert "step-7: damaged, renamed to step-7.damaged" in log and "continuing after step 4 of 30" in log
    runs.assert_same_run(stopped, straight)


def test_without_an_intact_checkpoint_it_starts_at_the_beginning(stopped, straight, tmp_path):
    for step in (4, 7):
        (stopped / "checkpoints" / f"step-{step}" / "state.json").unlink()
    assert "no checkpoint yet, starting at the beginning" in finish(tmp_path)
    runs.assert_same_run(stopped, straight)


def test_options_that_change_the_result_must_match(stopped, recipe, tmp_path):
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    more = ("--resume", "--seed", "7", "--batch_size", "8", "--attention", "padded", "--log_every", "5")
    log = run(runs.arguments(recipe, stopped, *more), tmp_path, status=2)
    assert ("these differ: attention: 'packed' before, 'padded' now; batch_size: 4 before, 8 now; "
            "seed: 42 before, 7 now\n") in log
    assert "log_every" not in log and "Traceback" not in log
    assert {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()} == before


def test_changed_data_is_noticed(stopped, recipe, tmp_path):
    shutil.copytree(recipe.parent / "data", tmp_path / "data")
    path = tmp_path / "data" / "de" / "train.tsv"
    options = (stopped / "config.yaml").read_text().replace(str(recipe.parent / "data"), str(tmp_path / "data"))
    (stopped / "config.yaml").write_text(options)
    for step in (4, 7):
        name = stopped / "checkpoints" / f"step-{step}" / "state.json"
        name.write_text(name.read_text().replace(str(recipe.parent / "data"), str(tmp_path / "data")))
        manifest = name.with_name("manifest.json")
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), name.name: checkpoint.checksum(name)}))
    path.write_text("Und\tO\n" + path.read_text())
    assert "checksum of the encoded data:" in run(["--resume", "--output_dir", str(stopped)], tmp_path, status=2)


def test_without_resume_nothing_is_overwritten(stopped, recipe, tmp_path):
    assert "holds an unfinished run; continue it with --resume" in run(runs.arguments(recipe, stopped), tmp_path,
                                                                       status=2)


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_file_size_limit_loses_neither_the_older_checkpoint_nor_the_message(stopped, straight, tmp_path):
    size = (stopped / "checkpoints" / "step-7" / "weights.safetensors").stat().st_size
    log = run(["--resume", "--output_dir", str(stopped)], tmp_path, limit_files, size - 1, status=2)
    assert ("step-8: the checkpoint could not be written" in log and "continue with --resume" in log
            and "Traceback" not in log)
    assert steps(stopped) == [4, 7] and not list((stopped / "checkpoints").glob(".*"))
    assert "continuing after step 7 of 30" in finish(tmp_path)
    runs.assert_same_run(stopped, straight)


@pytest.mark.parametrize("after, name, left", [
    ("log_validation", "save_weights", ".model.tmp"),
    ("write_results", "os.fsync", ".results.json.0-")])
def test_a_kill_while_the_last_files_are_written_is_harmless(recipe, straight, tmp_path, after, name, left):
    """Not before `after` is called, once the last epoch has been scored."""
    argv = runs.arguments(recipe, tmp_path / "run", "--resume")
    run(argv, tmp_path, doubles.signal_at, 29, signal.SIGTERM, status=143)
    run(argv, tmp_path, doubles.die_after, after, name, status=-9)
    assert any(path.name.startswith(left) for path in (tmp_path / "run").iterdir())
    assert not (tmp_path / "run" / "results.json").exists()
    finish(tmp_path)
    runs.assert_same_run(tmp_path / "run", straight)
    assert not list((tmp_path / "run").glob(".*"))


def test_a_kill_between_results_and_the_removal_is_harmless(recipe, straight, tmp_path):
    argv = runs.arguments(recipe, tmp_path / "run")
    run(argv, tmp_path, doubles.die_in, "remove_checkpoints", status=-9)
    runs.assert_same_run(tmp_path / "run", straight)
    before = (tmp_path / "run" / "results.json").read_bytes()
    assert "holds a finished run" in run(argv, tmp_path, status=2)
    assert "epochs: 3 before, 4 now" in run([*argv, "--resume", "--epochs", "4"], tmp_path, status=2)
    assert steps(tmp_path / "run") == [28, 30]
    assert "this run is already finished" in run([*argv, "--resume"], tmp_path)
    assert (not (tmp_path / "run" / "checkpoints").exists()
            and (tmp_path / "run" / "results.json").read_bytes() == before)


def test_ctrl_c_of_plain_python(recipe, tmp_path):
    with runs.start(runs.arguments(recipe, tmp_path / "run", "--epochs", "9999", "--resume")) as process:
        end = time.monotonic() + 90
        while not checkpoint.found(tmp_path / "run" / "checkpoints") and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        log, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and "continue with: python train.py --resume --output_dir" in log, log
    assert "Traceback" not in log


def slow_third_step() -> None:
    train_step, calls = doubles.original("train_step"), []

    def slow(*arguments):
        calls.append(1)
        if len(calls) == 3:
            print("third step", flush=True)
            time.sleep(60)
        return train_step(*arguments)

    doubles.replace_for_good("train_step", slow)


def test_an_impatient_ctrl_c_stops_at_once(recipe, tmp_path):
    log = tmp_path / "log"
    process = runs.forked(runs.train_main, runs.arguments(recipe, tmp_path / "run"), str(log), slow_third_step)
    end = time.monotonic() + 60
    while not (log.exists() and "third step" in log.read_text()) and time.monotonic() < end:
        time.sleep(0.02)
    for pause in (0.5, 2.0):  # the second within two seconds is the same Ctrl-C, passed on by a launcher
        os.kill(process.pid, signal.SIGINT)
        time.sleep(pause)
        assert process.is_alive()
    os.kill(process.pid, signal.SIGINT)
    process.join(10)
    assert process.exitcode == 130 and "stopped immediately" in log.read_text() and "Traceback" not in log.read_text()


def rescored(folder: Path, tmp_path: Path) -> dict:
    process = runs.forked(score, str(folder), str(tmp_path / "scores"), str(tmp_path / "log"))
    process.join(60)
    assert process.exitcode == 0, (tmp_path / "log").read_text()
    return json.loads((tmp_path / "scores" / "results.json").read_text())["eval"]["validation"]


def score(folder: str, output: str, log: str) -> None:
    import evaluate

    runs.to_file(log)
    raise SystemExit(evaluate.main(["score", folder, "--split", "validation", "--output_dir", output]))


def spoil(below: float, step: int | None = None) -> None:
    """A model that finds nothing as soon as the learning rate is below this; and SIGTERM when `step` is logged."""
    train_step = doubles.original("train_step")

    def spoiled(model, optimizer, batches, words, rate, *more):
        result = train_step(model, optimizer, batches, words, rate, *more)
        if rate < below:
            model.classifier.weight.data.zero_()
            model.classifier.bias.data.copy_(-3 * torch.arange(7))
        return result

    doubles.replace_for_good("train_step", spoiled)
    if step is not None:
        doubles.signal_at(step, signal.SIGTERM)


def spoil_and_keep(below: float) -> None:
    spoil(below)
    doubles.keep_checkpoints()


@pytest.mark.parametrize("select", ["mean", "de"])
def test_the_selected_epoch_is_the_one_saved(recipe, tmp_path, select):
    """Interrupted in the last of three epochs, which is spoiled: the weights come from the checkpoint."""
    argv = runs.arguments(recipe, tmp_path / "run", "--select", select, "--average", "none", "--average_from", "0.3",
                          "--resume")
    run(argv, tmp_path, spoil, 0.0061, 25, status=143)
    run(argv, tmp_path, spoil, 0.0061)
    train = runs.outcome(tmp_path / "run")["train"]
    scores = [epoch["mean_f1"] if select == "mean" else epoch["validation"]["de"]["f1"] for epoch in train["epochs"]]
    best = scores.index(max(scores))
    assert len(scores) == 3 and best < 2 and scores[2] == 0 and train["selected_epoch"] == best + 1
    found, kept = rescored(tmp_path / "run", tmp_path), ("f1", "precision", "recall", "f1_strict", "by_type", "words")
    for lang, expected in train["epochs"][best]["validation"].items():
        for of_type in found[lang]["by_type"].values():
            of_type.pop("f1_ci95")  # an epoch's scores have no interval by type
        assert {key: found[lang][key] for key in kept} == {key: expected[key] for key in kept}
        assert found[lang]["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert expected["loss"] != pytest.approx(train["epochs"][2]["validation"][lang]["loss"], rel=1e-2)


def test_patience_stops(recipe, tmp_path):
    """Of 20 epochs, the third (from step 21 of 200 on) is spoiled and so are all after it."""
    argv = runs.arguments(recipe, tmp_path / "run", "--select", "mean", "--patience", "2", "--epochs", "20",
                          "--average", "none", "--average_from", "0.3", "--checkpoint_every", "none",
                          "--resume")
    run(argv, tmp_path, spoil, 0.01801, 12, status=143)
    run(argv, tmp_path, spoil_and_keep, 0.01801)
    train = runs.outcome(tmp_path / "run")["train"]
    scores = [epoch["mean_f1"] for epoch in train["epochs"]]
    assert (train["selected_epoch"] <= 2 and len(scores) == train["selected_epoch"] + 2
            and train["steps"] == 10 * len(scores))
    assert steps(tmp_path / "run")[-1] == train["steps"], "a failing test does not cost the training"


def test_three_kills(tmp_path):
    assert "3 kills" in kills.main(3, 60, tmp_path)
