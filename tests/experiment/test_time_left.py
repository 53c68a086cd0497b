"""When a line about a run's progress is due, and what it says."""

import os
import subprocess
import sys

import pytest

from ner.experiment.time_left import in_words, progress_lines
from tests.helpers import runs
from tests.helpers.paths import ROOT


@pytest.mark.parametrize("seconds, words", [(1, "about 1 min left"), (60, "about 1 min left"), (61, "about 2 min left"),
                                            (119 * 60, "about 119 min left"), (3 * 3600, "about 3.0 h left")])
def test_time_in_words(seconds, words):
    assert in_words(seconds) == words


def lines_of(seconds_per_step: float, total: int, start: int = 0) -> list[str]:
    now = [0.0]
    line = progress_lines(total, lambda: now[0])
    found = []
    for step in range(start + 1, total + 1):
        now[0] += seconds_per_step
        found.append(line(step, 0.5, 32.4))
    return [one for one in found if one]


def test_a_short_run_says_nothing():
    assert lines_of(0.1, 100) == []


def test_a_long_run_says_soon_how_long_and_then_every_minute():
    assert lines_of(2.0, 100) == [
        "step 5 of 100: loss 0.5000, 32 sentences/s, about 4 min left",
        "step 35 of 100: loss 0.5000, 32 sentences/s, about 3 min left",
        "step 65 of 100: loss 0.5000, 32 sentences/s, about 2 min left",
        "step 95 of 100: loss 0.5000, 32 sentences/s, about 1 min left"]


def test_a_continued_run_counts_its_own_steps():
    assert lines_of(20.0, 100, 92)[:2] == ["step 95 of 100: loss 0.5000, 32 sentences/s, about 2 min left",
                                           "step 98 of 100: loss 0.5000, 32 sentences/s, about 1 min left"]


@pytest.mark.slow
def test_a_run_without_a_terminal_prints_them(tmp_path):
    """The clock of a real run goes a hundred times as fast."""
    program = ("import sys, time; real = time.monotonic; time.monotonic = lambda: 1000 * real(); "
               "import train; sys.exit(train.main(sys.argv[1:]))")
    argv = runs.arguments(runs.make_recipe(tmp_path), tmp_path / "run")
    done = subprocess.run([sys.executable, "-c", program, *argv], cwd=ROOT, env={**os.environ, **runs.environment()},
                          capture_output=True, text=True, check=True)
    assert "step 5 of 30: loss " in done.stderr and "step 5 of 30" not in done.stdout
