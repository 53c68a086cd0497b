"""One folder is one process's: a second one is refused, and in a study takes another run."""

import json
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest
import yaml

from ner.experiment import study
from ner.experiment.folder import claim
from ner.experiment.plan import Planned
from ner.options import Options
from ner.training import checkpoint
from tests.helpers import doubles, runs
from tests.helpers.paths import ROOT


def is_free(folder) -> bool:
    with ExitStack() as held:
        return claim(folder, held)


def test_a_folder_is_held_by_one_until_it_lets_go(tmp_path):
    with ExitStack() as one, ExitStack() as other:
        assert claim(tmp_path, one) and not claim(tmp_path, other) and not claim(tmp_path, one)
    assert is_free(tmp_path) and list(tmp_path.iterdir()) == []


def test_a_process_that_is_killed_lets_go(tmp_path):
    program = f"from ner.files import hold; import pathlib, time; hold(pathlib.Path({str(tmp_path)!r})); " \
              "print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert not is_free(tmp_path)
        process.kill()
    assert is_free(tmp_path)


def test_without_locks_nobody_is_refused(tmp_path, monkeypatch):
    def no_locks(handle, kind):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with ExitStack() as held:
        assert claim(tmp_path, held) and claim(tmp_path, held)


def test_a_run_waits_for_its_teacher_even_if_it_is_finished(tmp_path):
    """Its teacher was removed and is trained again, by us or by another process."""
    student = Planned("s", Options(), teacher="t")
    (tmp_path / "s").mkdir()
    with ExitStack() as held:
        assert study.state_of(tmp_path, student, True, held) == [False, False, False]
        (tmp_path / "t").mkdir()
        (tmp_path / "t" / "results.json").write_text("{}")
        assert study.state_of(tmp_path, student, True, held) == [True, True, False]
        assert study.state_of(tmp_path, student, False, held) == [False, False, True]
        assert study.state_of(tmp_path, student, False, held) == [False, False, False], "it is taken"


def test_a_teacher_is_as_urgent_as_what_comes_after_it():
    planned = [Planned("t", Options()), Planned("s", Options(), teacher="t"), Planned("s2", Options(), teacher="t"),
               Planned("x", Options()), Planned("finished", Options(), teacher="t")]
    assert study.urgency(planned, {"t": 3, "s": 2, "s2": 5, "x": 7}) == {"t": 8, "s": 2, "s2": 5, "x": 7, "finished": 0}


@pytest.mark.slow
def test_a_run_that_is_being_trained_is_not_continued_by_another(tmp_path):
    recipe = runs.make_recipe(tmp_path)
    with ExitStack() as held:
        status, log = runs.run_forked(runs.arguments(recipe, tmp_path / "run"), tmp_path / "log", doubles.signal_at, 6,
                                      signal.SIGTERM)
        assert status == 143, log
        assert claim(tmp_path / "run", held)
        before = [path.name for path in checkpoint.found(tmp_path / "run" / "checkpoints")]
        status, log = runs.run_forked(["--resume", "--output_dir", str(tmp_path / "run")], tmp_path / "log")
        message = "another process is training there; wait for it or name another output_dir"
        assert status == 2 and log.endswith(f"train.py: {tmp_path / 'run'}: {message}\n"), log
        assert [path.name for path in checkpoint.found(tmp_path / "run" / "checkpoints")] == before
    assert runs.run_forked(["--resume", "--output_dir", str(tmp_path / "run")], tmp_path / "log")[0] == 0


def look_often() -> None:
    study.PAUSE = 0.2


@pytest.mark.slow
def test_a_study_that_is_started_twice_is_shared(tmp_path):
    """Every run is trained once, a student after its teacher, and the results are those of one process."""
    shared = {**yaml.safe_load(runs.make_recipe(tmp_path).read_text()), "epochs": 1}
    recipe = tmp_path / "study.yaml"
    recipe.write_text(yaml.safe_dump({**shared, "runs": {
        "self": {"teacher": "a/seed-1", "pseudo_langs": ["fr"], "seed": 1}, "a": {"seeds": [1, 2]}, "b": {"seed": 3}}}))
    assert runs.run_forked(runs.arguments(recipe, tmp_path / "one"), tmp_path / "log")[0] == 0
    both = [runs.forked(runs.train_main, runs.arguments(recipe, tmp_path / "two"), str(tmp_path / f"log-{number}"),
                        look_often) for number in range(2)]
    for process in both:
        process.join(120)
    logs = [(tmp_path / f"log-{number}").read_text() for number in range(2)]
    assert [process.exitcode for process in both] == [0, 0], logs
    names = ["self", "a/seed-1", "a/seed-2", "b"]
    for name in names:
        assert len(list((tmp_path / "two" / name).glob("events*"))) == 1, name
        one, two = (runs.outcome(tmp_path / folder / name) for folder in ("one", "two"))
        assert one["eval"] == two["eval"]
    assert all("epoch 1: training loss" in log for log in logs), "each has trained something"
    assert sum(log.count("epoch 1: training loss") for log in logs) == len(names)
    one, two = (json.loads((tmp_path / folder / "a" / "results.json").read_text())["eval"] for folder in ("one", "two"))
    assert one == two and (tmp_path / "two" / "config.yaml").exists()
