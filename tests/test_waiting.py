"""What processes (gloo, on the CPU) do while one of them is slow, and how they part."""

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest
from accelerate import Accelerator

from ner.options import Options
from ner.training import machine
from tests.helpers import doubles, runs
from tests.helpers.processes import together

pytestmark = pytest.mark.slow
DEFAULT, SLOW = 3, 7  # seconds: PyTorch's time-out, made short, and what the first process takes
UNTIL = 60  # seconds


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    return runs.make_recipe(tmp_path_factory.mktemp("waiting"), epochs=1, num_train_sentences=8)


def wait_for_a_download(of_project: bool) -> None:
    """One process: the first fills a cache, for longer than PyTorch lets the others wait."""
    doubles.replace_for_good("torch.distributed.distributed_c10d._get_default_timeout",
                             lambda backend: timedelta(seconds=DEFAULT))
    accelerator = machine.accelerator(Options()) if of_project else Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    with accelerator.main_process_first():
        time.sleep(SLOW if accelerator.is_main_process else 0)
    machine.leave()


@pytest.mark.parametrize("of_project", [False, True])
def test_a_slow_first_process_is_waited_for(tmp_path, of_project):
    """With Accelerate's defaults, the run ends."""
    statuses, log = together(2, tmp_path / "log", wait_for_a_download, of_project)
    assert (statuses == [0, 0]) == of_project, log
    assert ("imed out" in log) != of_project, log


class WaitingHub:
    """In place of the Hub: its upload does not end before the other process has left."""

    def __init__(self, token): pass

    def create_repo(self, name, **_): return f"hub/{name}"

    def repo_info(self, name): return self

    private = True

    def upload_folder(self, **_):
        end = time.monotonic() + UNTIL
        while not Path("left").exists():
            assert time.monotonic() < end, "the other process waits for the upload"
            time.sleep(0.05)


def note_who_leaves() -> None:
    """The second process leaves a file when it has left the group."""
    leave = machine.leave

    def note() -> None:
        leave()
        if os.environ["RANK"] == "1":
            Path("left").touch()

    doubles.replace_for_good("ner.training.machine.leave", note)


def upload_slowly(folder: Path) -> None:
    os.chdir(folder)
    doubles.replace_for_good("HfApi", WaitingHub)
    note_who_leaves()


def test_nobody_waits_for_the_upload(recipe, tmp_path):
    argv = runs.arguments(recipe, tmp_path / "run", "--push_to_hub", "anna/tagger")
    statuses, log = together(2, tmp_path / "log", runs.train_main, argv, str(tmp_path / "log"), upload_slowly, tmp_path)
    assert statuses == [0, 0] and log.endswith("hub/anna/tagger\n"), log


def stop_early(folder: Path) -> None:
    os.chdir(folder)
    note_who_leaves()
    doubles.signal_at(1, signal.SIGTERM)


def test_processes_that_are_stopped_leave_the_group(recipe, tmp_path):
    argv = runs.arguments(recipe, tmp_path / "run")
    statuses, log = together(2, tmp_path / "log", runs.train_main, argv, str(tmp_path / "log"), stop_early, tmp_path)
    assert statuses == [143, 143] and (tmp_path / "left").exists(), log


def own_disk(folder: Path) -> None:
    """Relative paths are on this process's disk."""
    os.chdir(folder / os.environ["RANK"])


def test_a_finished_run_that_only_the_first_machine_has(recipe, tmp_path):
    for rank in "01":
        (tmp_path / rank).mkdir()
    assert runs.run_forked(runs.arguments(recipe, tmp_path / "0" / "run"), tmp_path / "log")[0] == 0
    argv = ["--config", str(recipe), "--resume", "--output_dir", "run"]
    statuses, log = together(2, tmp_path / "log-2", runs.train_main, argv, str(tmp_path / "log-2"), own_disk, tmp_path)
    assert statuses == [0, 0] and log.count("run: this run is already finished\n") == 1, log
    assert list((tmp_path / "1").iterdir()) == []
