"""Random damage to all that the two scripts read: an answer or one sentence, and nothing lost either way.

``python -m tests.proofs.fuzz --n 1000``: case i, a function of (seed, i) alone, gets a folder of its own with a corpus,
an encoder, finished runs and one that was stopped; up to two things in it are broken and one command is given. Right is
- exit status 0 and every word kept: the words in predictions/ are, in order, those that `words_of` reads from the
  (broken) file by the rule of its format (with `fractions`: are among them; without a data_dir: as many as the figures
  say), the text given to ``tag`` comes back, and no figure is NaN; a case in which nothing was broken must end so;
- or exit status 2 and one sentence on standard error (several problems of options: a line each), before which nothing
  but our own notices stands, and no results.json.
Either way what was there before is the same byte for byte (but in a run that was continued), nothing half-written is
left, and time and memory are bounded. Every fiftieth case is a process of its own; the others share this one, in which
the built-in encoder and corpus are small, nothing reaches the Hub, and confusions are not drawn.
"""

import argparse
import contextlib
import csv
import gzip
import json
import os
import random
import re
import resource
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import yaml
from safetensors import safe_open
from tabulate import tabulate

from tests.helpers.mutators import mutate, mutate_words, seal
from tests.helpers.small_world import STUDY, SUFFIXES, TEXT, TRAIN, call, make_runs, real, small_world, write_inputs

MEMORY = 1.5 * 2**30  # bytes that a case may take
LONGEST = 10_000  # characters of a sentence
APART = 50  # every so many cases, one is a process of its own
RESUME, AGAIN = (["train.py", "--resume", "--output_dir", name] for name in ("stopped", "run"))
SCORE, ERRORS = (["evaluate.py", name, "run", "--output_dir", "out"] for name in ("score", "errors"))
BARE = ["evaluate.py", "score", "run/model", "--data_dir", "data", "--langs", "de", "--output_dir", "out"]
TAG, TAG_JSON = ["evaluate.py", "tag", "run", TEXT], ["evaluate.py", "tag", "run", TEXT, "--jsonl"]
SUSPECTS = ["evaluate.py", "suspects", "--config", "recipe.yaml", "--output", "out/suspects.tsv"]
COMPARE, REPORT = ["evaluate.py", "compare", "run", "other"], ["evaluate.py", "report", "."]
GROUPS = {  # group -> commands, each with what may be broken of the files that it reads
    "data": [(TRAIN, "data/*/*"), (SCORE, "data/*/test*"), (ERRORS, "data/*/[dv]*"), (SUSPECTS, "data/de/*")],
    "recipe": [(TRAIN[:3], "recipe.yaml"), (TRAIN, "recipe.yaml"), (SUSPECTS, "recipe.yaml"),
               ([*STUDY, "--output_dir", "out"], "study.yaml")],
    "command": [(argv, "*") for argv in (TRAIN, SCORE, ERRORS, TAG, SUSPECTS, COMPARE, REPORT, RESUME, STUDY)],
    "model": [(TRAIN, "encoder/*"), (SCORE, "run/model/[cmt]*"), (TAG_JSON, "run/model/[cmt]*"),
              (BARE, "run/model/[cmt]*")],
    "run": [(SCORE, "run/config.yaml"), (TAG, "run/config.yaml"), (COMPARE, "*r*/predictions/*"), (AGAIN, "run/*.*"),
            (REPORT, "run/results.json"), (REPORT, "*r*/predictions/*"), (STUDY, "study/**/results.json")],
    "checkpoint": [(RESUME, "stopped/checkpoints/*/*"), (RESUME, "stopped/config.yaml")],
}
OUTCOMES = ("answered", "refused", "failed")
PROBLEM = re.compile(r"(\S+\.\w+: )?(run .*: )?(\w+: |unknown option |expected options )")
NOTICE = re.compile(r"warning: |.*: the tags are IOB1 |.*: left out \d+ |.*: has a head for these tags|"
                    r".* cuts the word ")


def contents(folder: Path) -> dict[str, bytes | str]:
    """Everything below `folder`: the bytes of a file, the target of a link, or that it is a folder."""
    return {str(path): f"link to {os.readlink(path)}" if path.is_symlink() else "folder" if path.is_dir()
            else path.read_bytes() for path in folder.rglob("*")}


def words_of(path: Path) -> list[str]:
    """The words of a data file by its format's rule and no more: no check, no guess."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = data.removeprefix(b"\xef\xbb\xbf").decode().split("\n")
    if path.suffix == ".json":
        return [word for row in json.loads("\n".join(lines)) for word in row["words"]]
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in lines if line.strip()]
        return [word for row in rows for word in (row["text"].split() if "text" in row else row["tokens"])]
    if path.suffix == ".csv":
        _, *rows = csv.reader(line.removesuffix("\r") + "\n" for line in lines if line.strip("\r\t "))
        return [row[1] for row in rows if any(map(str.strip, row))]
    lines = [line for line in lines if line.strip("\r\t ") and not (path.suffix == ".iob2" and line.startswith("#"))]
    cells = [line.split("\t") for line in lines]
    return [row[1] if path.suffix == ".iob2" else row[0].removeprefix(f"{path.parent.name}:" * (not path.suffix))
            for row in cells]


def check_results(path: Path) -> None:
    """AssertionError or ValueError where figures, words or files of a finished run are not right."""
    results, folder = json.loads(path.read_text(encoding="utf-8"), parse_constant=int), path.parent  # int("NaN") raises
    if "seeds" in results:
        return
    options = results["options"]
    if "train" in results:
        assert yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")) == options, "config.yaml differs"
        with safe_open(folder / "model" / "model.safetensors", "pt") as file:
            assert "classifier.weight" in file.keys()
        assert all((folder / "model" / name).is_file() for name in ("config.json", "tokenizer.json", "README.md"))
    scored = [(split, lang) for split, langs in results["eval"].items() for lang in langs
              if not lang.startswith("mean_f1")]
    for split, lang in scored:
        text = (folder / "predictions" / f"{split}.{lang}.tsv").read_bytes().decode()
        words = [line.split("\t")[0] for line in text.split("\n") if line]
        assert len(words) == results["eval"][split][lang]["words"], f"{len(words)} predictions of {split}, {lang}"
        if options["data_dir"]:
            (source,) = (Path(options["data_dir"]) / lang).glob(f"{split}*")
            if b'"text"' in source.read_bytes():
                words, given = ["".join(words)], ["".join(words_of(source))]
                assert lang in options["fractions"] or words == given, f"characters lost, added or changed: {source}"
            elif lang in options["fractions"]:
                assert not Counter(words) - Counter(words_of(source)), f"other words than in {source}"
            else:
                assert words == words_of(source), f"words lost, added or changed: {source}"


def continued(argv: list[str], status: int, name: str) -> bool:
    """Whether a command may change what was there: a run that it goes on with, or begins to go on with."""
    goes_on = {"stopped", "run"} if "--resume" in argv else {"study"} if "study.yaml" in argv else {}
    return name.split("/")[0] in goes_on and (status == 0 or Path(name).name.startswith(("config.yaml", "events.")))


def check(argv: list[str], status, out: str, error: str, before: dict, after: dict, broken: bool) -> None:
    """AssertionError, or whatever reading finds, where a case did not end as it should."""
    assert status in (0, 2), "neither an answer nor a sentence"
    changed = [name for name in before if after.get(name) != before[name] and not continued(argv, status, name)]
    assert not changed, f"changed: {changed}"
    for path in (Path(name) for name in after if name not in before):
        assert path.suffix != ".tmp", f"half-written: {path}"
        if path.name == "config.yaml":
            assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)
        if path.name == "results.json":
            assert status == 0, "results of a run that was refused"
            check_results(path)
    assert set(re.findall(r"\b(?:nan|inf|NaN|Infinity)\b", out)) <= set(argv), "no finite figure"
    *notices, end = lines = error.split("\n")
    if status == 0 and argv in (TAG, TAG_JSON):
        text = json.loads(out)["text"] if argv == TAG_JSON else "".join(line.split("\t")[0] for line in out.split("\n"))
        assert text.replace(" ", "") == TEXT.replace(" ", ""), "another text"
    if status == 2:
        assert broken, "nothing was broken"
        starts = [i for i, line in enumerate(lines) if line.startswith(f"{argv[0]}: ")]
        assert len(starts) == 1, "not one sentence"
        notices, (sentence, *more) = lines[: starts[0]], lines[starts[0] : -1]
        assert all(map(PROBLEM.match, more)), "more than one sentence"
        assert len(sentence) < LONGEST, "a long sentence"
    assert all(map(NOTICE.match, notices)) and not end, "unknown notices"


def resident(field: str) -> int:
    """Resident memory in bytes: now (VmRSS), or at its highest (VmHWM)."""
    return 1024 * int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def largest_child() -> int:
    """Peak of resident memory in bytes of any process that this one started and that has ended."""
    return 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def case(base: Path, seed: int, number: int) -> tuple[str, list[tuple[str, str]], str]:
    """Group, what was broken (kind, exactly) and outcome of one case; a failure is told at once."""
    rng, how = random.Random(f"{seed} {number}"), []
    apart = number % APART == APART - 1
    # without the small world, a recipe or a command that lost its options would be a long run
    group = rng.choice([name for name in GROUPS if not (apart and name in ("command", "recipe"))])
    command, pattern = rng.choice(GROUPS[group])
    argv = list(command)
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copytree(base, f"{temporary}/case")
        with contextlib.chdir(f"{temporary}/case"):
            shutil.rmtree("data")
            shutil.move(rng.choice(sorted(SUFFIXES)), "data")
            paths = sorted(Path().glob(pattern))
            for _ in range(rng.choices([0, 1, 2], [1, 6, 3])[0]):
                how.append(mutate_words(argv, rng) if group == "command" else mutate(rng.choice(paths), rng))
            if group == "checkpoint" and rng.random() < 0.5:  # else damage is noticed by the checksums
                seal(Path("stopped/checkpoints"))
            before, started, earlier = contents(Path()), resident("VmRSS"), largest_child()
            Path("/proc/self/clear_refs").write_text("5")  # reset the peak
            status = out = error = ""
            try:
                status, out, error = (real if apart else call)(argv)
                check(argv, status, out, error, before, contents(Path()), bool(how))
                child = largest_child()  # of all that ever ended: this case's only where it is larger than before
                grown = max(resident("VmHWM"), child if child > earlier else 0) - started
                assert grown < MEMORY, f"memory grew by {grown / 2**30:.1f} GiB"
            except Exception as failure:
                print(f"\nFAILED case {number} ({group}): {type(failure).__name__}: {failure}\n"
                      f"  {' '.join(argv)[:500]!r}\n  {how}\n  status {status}\n"
                      f"  output {out[-1000:]!r}\n  errors {error[-2000:]}\n"
                      f"  again: python -m tests.proofs.fuzz --seed {seed} --first {number} --n 1", flush=True)
                return group, how, "failed"
    return group, how, "answered" if status == 0 else "refused"


def main(count: int, seed: int, first: int) -> Counter:
    """Cases by group or kind of mutation, and outcome."""
    outcomes = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary)
        write_inputs(base)
        with small_world(base):
            make_runs()
            for number in range(first, first + count):
                group, how, outcome = case(base, seed, number)
                outcomes.update((name, outcome) for name in ["all", group, *(kind for kind, _ in how)])
    return outcomes


def table(outcomes: Counter) -> str:
    names = sorted({name for name, _ in outcomes}, key=lambda name: (name == "all", name not in GROUPS, name))
    return tabulate([[name, *(outcomes[name, kind] for kind in OUTCOMES)] for name in names], ["", *OUTCOMES], "plain")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000, help="how many cases [1000]")
    parser.add_argument("--seed", type=int, default=0, help="[0]")
    parser.add_argument("--first", type=int, default=0, help="number of the first case [0]")
    arguments = parser.parse_args()
    found = main(arguments.n, arguments.seed, arguments.first)
    print(f"\n{table(found)}")
    sys.exit(found["all", "failed"] > 0)
