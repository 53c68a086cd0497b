"""The runs of a report: found in a folder, arranged as a matrix of training and test languages or as a curve."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ner.analysis.plots import Estimate
from ner.experiment.folder import read_results
from ner.options import Options, UserError, as_recipe

DEPTH = 3  # levels of folders below the reported one


class ReportedRun(NamedTuple):
    """`results` is None for a planned run that is not finished."""

    name: str
    folder: Path
    options: dict
    results: dict | None

    def test(self, lang: str) -> dict | None:
        return ((self.results or {}).get("eval", {}).get("test") or {}).get(lang)

    @property
    def has_target_text(self) -> bool:
        """Whether it also learned from unlabelled text (`pseudo_langs`): then it is not zero-shot in any language."""
        return bool(self.options["pseudo_langs"])

    @property
    def label(self) -> str:
        return f"{self.name} (with target text)" if self.has_target_text else self.name

    def estimate(self, lang: str) -> Estimate | None:
        """None also if the test set has no interval (a single sentence, or no entity)."""
        found = self.test(lang)
        return (found["f1"], *found["f1_ci95"]) if found and found.get("f1_ci95") else None

    @property
    def train(self) -> dict:
        """The `train` part of results.json; empty if there is none (unfinished, or from evaluate.py score)."""
        return (self.results or {}).get("train") or {}


Matrix = dict[str, dict[str, ReportedRun | None]]  # training languages -> test language -> run


def collect(folder: Path, planned: Mapping[str, Options]) -> list[ReportedRun]:
    """Planned runs in their order, then everything else in `folder` that has results, by name; also groups of seeds."""
    found = {}
    for path in finished_below(folder, DEPTH):
        results = read_results(path / "results.json")
        name = path.relative_to(folder).as_posix() if path != folder else folder.resolve().name
        found[name] = ReportedRun(name, path, results["options"], results)
    order = {}
    for name, options in planned.items():
        group = Path(name).parent.as_posix()
        if group in found:  # it sums up the seeds, and takes the place of the first
            order[group] = found[group]
        elif not (folder / group / "results.json").is_file():
            order[name] = ReportedRun(name, folder / name, as_recipe(options), None)
    runs = list((order | found).values())
    if not runs:
        raise UserError(f"{folder}: found no run; expected a folder of runs, each with results.json")
    return runs


def finished_below(folder: Path, depth: int) -> list[Path]:
    """Folders with a results.json; those below one (single seeds) are part of it."""
    if (folder / "results.json").is_file():
        return [folder]
    below = sorted(path for path in folder.iterdir() if path.is_dir()) if depth and folder.is_dir() else []
    return [path for part in below for path in finished_below(part, depth - 1)]


def matrix(runs: Sequence[ReportedRun], langs: Sequence[str]) -> Matrix:
    """The rows of the chapter: the first language trained on alone (zero-shot on the others), sets of languages, each
    language on its own, and all. Among runs on the same languages, the one with the most sentences counts, or else the
    first. Runs with target text have rows of their own below. Models that were only scored are left out: nobody knows
    what they were trained on."""
    best: dict[tuple[str, ...], ReportedRun] = {}
    trained = [run for run in runs if run.train or not run.results]
    for run in (run for run in trained if not run.has_target_text):
        key = tuple(run.options["train_langs"])
        if key not in best or size(run) > size(best[key]):
            best[key] = run
    alone = {key[0]: run for key, run in best.items() if len(key) == 1}
    several = {key: run for key, run in best.items() if len(key) > 1}
    everything = next((key for key in several if set(key) == set(langs)), None)
    rows: Matrix = {lang: dict.fromkeys(langs, run) for lang, run in list(alone.items())[:1]}
    rows |= {"-".join(key): dict.fromkeys(langs, run) for key, run in several.items() if key != everything}
    if len(alone) > 1:
        rows["each"] = {lang: alone.get(lang) for lang in langs}
    if everything:
        rows["all"] = dict.fromkeys(langs, several[everything])
    return rows | {run.label: dict.fromkeys(langs, run) for run in trained if run.has_target_text}


def size(run: ReportedRun) -> float:
    """Training sentences per language; infinite for whole data sets."""
    return run.options["num_train_sentences"] or math.inf


def curve(runs: Sequence[ReportedRun], lang: str) -> list[tuple[int, Estimate]]:
    """Number of training sentences and test F1 of the finished runs on `lang` alone, ascending; without runs that
    excluded sentences on purpose or had target text."""
    points = {run.train["sentences"]: run.estimate(lang) for run in reversed(runs)
              if run.options["train_langs"] == [lang] and not run.options["exclude"] and not run.has_target_text
              and run.train and run.estimate(lang)}
    return sorted(points.items())


def crossing(points: Sequence[tuple[int, float]], level: float) -> float | None:
    """Where a curve first reaches `level` from below, interpolated on a logarithmic axis."""
    for (n, f1), (next_n, next_f1) in pairwise(points):
        if f1 < level <= next_f1:
            return n * (next_n / n) ** ((level - f1) / (next_f1 - f1))
    return None
