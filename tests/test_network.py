"""No network unless a Hub name is asked for: local runs try no socket, and offline a Hub name is refused at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import runs
from tests.helpers.corpora import CORPUS, write_hub
from tests.helpers.paths import ROOT

pytestmark = pytest.mark.slow

# Every event of the interpreter's sockets but the question for the own machine's name is noted, and then refused.
HOOK = """
import os, sys
def note(event, args):
    if event.startswith("socket.") and event != "socket.gethostname":
        with open(os.environ["NOTED"], "a") as file:
            print(event, args, file=file)
        raise OSError("no sockets here")
sys.addaudithook(note)
"""

# Several calls in one interpreter, because starting it takes longer than they do.
CALLS = """
import contextlib, io, json, os, sys
import evaluate, train
for script, *argv in json.load(sys.stdin):
    open(os.environ["NOTED"], "w").close()
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        status = {"train": train, "evaluate": evaluate}[script].main(argv)
    print(json.dumps([status, errors.getvalue(), open(os.environ["NOTED"]).read()]))
"""


def without_sockets(folder: Path, calls: list[tuple], offline: str) -> list[list]:
    """Exit status, errors and sockets tried of each call, in a new process without sockets."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(HOOK)
    (folder / "noted").write_text("")
    env = {**runs.environment(), "PYTHONPATH": f"{folder / 'site'}:{ROOT}", "NOTED": str(folder / "noted"),
           "HF_HUB_OFFLINE": offline, "HF_HOME": str(folder / "hub")}
    done = subprocess.run([sys.executable, "-c", CALLS], input=json.dumps([list(map(str, call)) for call in calls]),
                          env=env, capture_output=True, text=True, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def local_calls(folder: Path) -> list[tuple]:
    """A training run and its scores, with data in files and with data laid out as on the Hub."""
    recipe, run = runs.make_recipe(folder / "small", epochs=1), folder / "run"
    hub = write_hub(folder / "set", {"de": CORPUS})
    return [("train", "--config", recipe, "--output_dir", run),
            ("evaluate", "score", run, "--output_dir", folder / "scores"),
            ("evaluate", "score", run, "--dataset", hub, "--langs", "de", "--output_dir", folder / "other scores"),
            ("evaluate", "tag", run, "Bern")]


def test_a_run_and_its_scores_open_no_socket(tmp_path):
    """The last call shows that the hook notes what it refuses."""
    asks = ("evaluate", "tag", "someone/some-model", "Bern")
    *ours, asked = without_sockets(tmp_path, [*local_calls(tmp_path), asks], "")
    assert [(status, noted) for status, _, noted in ours] == [(0, "")] * 4, ours
    assert asked[0] == 2 and "socket.getaddrinfo ('huggingface.co', 443" in asked[2]


def test_offline_a_hub_name_is_one_sentence_at_once_and_the_rest_works(tmp_path):
    model = "model someone/some-model: not a folder, and not available"
    data = "data set someone/some-data, language 'de'"
    run, output = tmp_path / "run", ("--output_dir", tmp_path / "o")
    hub = {("train", "--model", "someone/some-model", *output): model,
           ("train", "--dataset", "someone/some-data", *output): data,
           ("train", "--dataset", "panx", *output): "data set google/xtreme, language 'de', train: cannot be loaded",
           ("evaluate", "score", run, "--dataset", "someone/some-data", *output): data,
           ("evaluate", "tag", "someone/some-model", "Bern"): model}
    found = without_sockets(tmp_path, [*local_calls(tmp_path), *hub], "1")
    assert [(status, noted) for status, _, noted in found[:4]] == [(0, "")] * 4, found
    for (script, *_), message, (status, error, noted) in zip(hub, hub.values(), found[4:], strict=True):
        assert (status, noted) == (2, "")
        assert error.startswith(f"{script}.py: {message}") and error.count("\n") == 1
    assert not (tmp_path / "o").exists()
