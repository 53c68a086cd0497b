"""Whether README.md is still true: ``python -m tests.readme``, and with ``--run`` also what the quickstart prints.

Links lead somewhere, F1 in its table is that of the report, the commands of README and docs are understood by today's
parsers, and it is short. A fresh run must print README's lines, with the same counts, sentences and next commands. Its
F1 depends on processor and precision, so that each test F1 has to be only within the 95 % interval that README gives
for it, which is wide: 80 sentences per language. Losses, validation F1 and predicted entities are not compared.
"""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from itertools import zip_longest
from pathlib import Path

from ner.experiment import commands
from ner.experiment.cli import read_arguments
from ner.experiment.plan import plan
from ner.options import UserError
from tests.helpers.paths import ROOT

WORDS = 900
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
COMMAND = re.compile(r"^(?:pip install .* && )?(?:(?:[A-Z_]+=\S+ )*(?:accelerate launch|torchrun|python) (?:.*? )?)"
                     r"(train\.py|evaluate\.py)((?: .*)?)$")
ROWS = {"German (zero-shot elsewhere)": "de", "German and French": "de-fr", "each language alone": "each",
        "all four": "all"}  # in README -> in the report


def broken_links(text: str, folder: Path) -> list[str]:
    return [f"{link}: is not there" for link in LINK.findall(text) if not (folder / link).exists()]


def table(text: str, heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading."""
    lines = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].split("\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {first: rest for first, *rest in reversed(rows)}


def stale_cells(readme: str, report: str) -> list[str]:
    """Cells of README's table of results that are not those of the report, or rows that are missing."""
    ours, theirs = table(readme, "Results"), table(report, "F1 by training and test language")
    return [f"results, {name}: found {ours.get(name)}, the report has {theirs.get(row)}"
            for name, row in ROWS.items() if ours.get(name) != theirs.get(row) or row not in theirs]


def refused_commands(text: str) -> list[str]:
    """Commands of both scripts, in blocks of code, that the parsers refuse."""
    joined = re.sub(r"\\\n *", "", "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)))
    problems = []
    for line in joined.split("\n"):
        if not (found := COMMAND.match(line.partition("  #")[0].rstrip())):
            continue
        argv = shlex.split(found[2].partition(" < ")[0])
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.chdir(ROOT):
                if found[1] == "train.py":
                    plan(*read_arguments("", argv))
                elif argv[:1] != ["suspects"]:  # its parser also has all options of train.py
                    commands.parser("").parse_args(argv)
        except (SystemExit, UserError) as error:
            problems.append(f"{line}: {said.getvalue().strip() or error}")
    return problems


def shape(line: str) -> str:
    """A line without what may differ: figures with decimals, spaces, marks of entities, the number of the folder."""
    line = re.sub(r"\[([^]]+) (?:PER|ORG|LOC)\]", r"\1", re.sub(r"\d+\.\d+", "x.x", " ".join(line.split())))
    return re.sub(r"runs/quickstart-\d+", "runs/quickstart", line)


def other_output(readme: str, printed: str) -> list[str]:
    """Where the output of a run is not README's; only the first line, the machine, is free."""
    block = next((block for block in re.findall(r"^```\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
                  if "\nepoch 1: " in block), "")
    expected, found = (text.rstrip().split("\n")[1:] for text in (block, printed))
    if not expected:
        return ["output: there is none of a run"]
    problems = []
    for ours, fresh in zip_longest(expected, found, fillvalue=""):
        row = re.match(r"(\w+) +[\d.]+ +([\d.]+)-([\d.]+) ", ours)
        if shape(ours) != shape(fresh):
            problems.append(f"output: {ours!r}, a fresh run prints {fresh!r}")
        elif row and not float(row[2]) <= float(fresh.split()[1]) <= float(row[3]):
            problems.append(f"output: F1 of {row[1]} in a fresh run is {fresh.split()[1]}; "
                            f"expected {row[2]} to {row[3]}")
    return problems


def fresh_run() -> str:
    """What the quickstart prints; its progress goes to this terminal."""
    return subprocess.run([sys.executable, "train.py"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def problems() -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    report = (ROOT / "configs/results/chapter4/REPORT.md").read_text(encoding="utf-8")
    pages = {page: page.read_text(encoding="utf-8")
             for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]}
    found = [f"{page.relative_to(ROOT)}: {problem}" for page, text in pages.items()
             for problem in broken_links(text, page.parent) + refused_commands(text)]
    found += [f"README.md: {problem}" for problem in stale_cells(readme, report)]
    if len(readme.split()) > WORDS:
        found.append(f"README.md: has {len(readme.split())} words; expected at most {WORDS}")
    return found


if __name__ == "__main__":
    found = problems()
    if "--run" in sys.argv:
        found += [f"README.md: {problem}"
                  for problem in other_output((ROOT / "README.md").read_text(encoding="utf-8"), fresh_run())]
    sys.exit("\n".join(found) or 0)
