"""README.md is not stale, and each of its checks can fail."""

import pytest

from tests import readme

TABLE = "\n## Results\n\n| fine-tuned on | de | fr |\n|---|---|---|\n| all four | 86.3 | 87.5 |\n"
REPORT = "\n## F1 by training and test language\n\n| fine-tuned on | de | fr |\n|:--|--:|--:|\n| all | 86.3 | 87.5 |\n"


def test_nothing_is_stale():
    assert readme.problems() == []


def test_a_link_that_leads_nowhere(tmp_path):
    (tmp_path / "a.md").write_text("")
    text = "[a](a.md#part) ![b](pictures/b.png) [c](https://example.org/c) [d](#here)"
    assert readme.broken_links(text, tmp_path) == ["pictures/b.png: is not there"]


def test_a_figure_of_another_report(monkeypatch):
    monkeypatch.setattr(readme, "ROWS", {"all four": "all"})
    assert readme.stale_cells(TABLE, REPORT) == []
    assert readme.stale_cells(TABLE, REPORT.replace("87.5", "87.4")) == [
        "results, all four: found ['86.3', '87.5'], the report has ['86.3', '87.4']"]
    assert readme.stale_cells("", "") == ["results, all four: found None, the report has None"]


@pytest.mark.parametrize("line, problem", [
    ("python train.py --epochs 3", None),
    ("pip install -r requirements.txt && python train.py", None),
    ("accelerate launch --num_processes 4 train.py --config configs/quickstart.yaml", None),
    ("RANK=3 WORLD_SIZE=16 python evaluate.py tag runs/a --input 'b/*' --output c  # four", None),
    ("python train.py --epoch 3", "unknown option"),
    ("python train.py --config configs/missing.yaml", "missing.yaml"),
    ("accelerate launch train.py --epochs none", "epochs"),
    ("python evaluate.py tag runs/a - --pretokenised < b.txt", "unrecognized arguments: --pretokenised"),
    ("python evaluate.py tags runs/a", "invalid choice")])
def test_a_command_that_is_not_understood(line, problem):
    found = readme.refused_commands(f"# A\n\n```\n{line}\n```\n")
    assert found == [] if problem is None else problem in found[0] and found[0].startswith(f"{line}: ")


def test_commands_over_two_lines():
    assert len(readme.refused_commands("```\npython train.py --epochs 3 \\\n    --seeed 1\n```\n")) == 1


PRINTED = """AMD EPYC (cpu), mixed_precision no, 1 process
split       lang      sentences    words
train       de             2000    24038

epoch 1: training loss 0.8521, validation loss 0.4387, F1 de 75.71, mean 67.68

test
lang     F1       95 %  precision  recall  argmax F1  sentences  entities
de    89.61  85.3-93.5      87.90   91.39      88.96         80       151
mean  85.64  82.9-88.3                         84.05

runs/quickstart: results.json, model/

tagged by the model (it):
  [Jean Piaget PER] è nato a [Neuchâtel LOC] (5 km).

next:
  python evaluate.py errors runs/quickstart
"""


@pytest.mark.parametrize("old, new, problem", [
    ("AMD EPYC (cpu), mixed_precision no", "Xeon (cpu), mixed_precision bf16", None),
    ("loss 0.8521, validation loss 0.4387, F1 de 75.71", "loss 0.9, validation loss 0.5, F1 de 70.2", None),
    ("de    89.61  85.3-93.5", "de    85.31  81.0-89.0", None),
    ("runs/quickstart:", "runs/quickstart-12:", None),
    ("errors runs/quickstart", "errors runs/quickstart-12", None),
    ("[Jean Piaget PER] è nato a [Neuchâtel LOC]", "Jean [Piaget ORG] è nato [a Neuchâtel PER]", None),
    ("Piaget PER]", "Calvin PER]", "a fresh run prints '  [Jean Calvin PER] è nato a"),
    ("errors runs", "tag runs", "a fresh run prints '  python evaluate.py tag runs/quickstart'"),
    ("errors runs/quickstart\n", "errors runs/quickstart\n  more\n", "output: '', a fresh run prints '  more'"),
    ("de    89.61  85.3-93.5", "de    85.29  81.0-89.0", "F1 of de in a fresh run is 85.29; expected 85.3 to 93.5"),
    ("mean  85.64", "mean  88.31", "F1 of mean in a fresh run is 88.31"),
    ("24038", "24039", "a fresh run prints 'train       de             2000    24039'"),
    ("80       151", "80       152", "a fresh run prints"),
    ("F1 de 75.71, ", "F1 de 75.71  fr 60.00, ", "a fresh run prints"),
    ("  python evaluate.py errors runs/quickstart\n", "", "a fresh run prints ''")])
def test_the_output_of_a_fresh_run(old, new, problem):
    assert old in PRINTED
    found = readme.other_output(f"# A\n\n```\na\n```\n\n```\n{PRINTED}```\n", PRINTED.replace(old, new))
    assert found == [] if problem is None else len(found) == 1 and problem in found[0]


def test_a_readme_without_output():
    assert readme.other_output("# A\n", PRINTED) == ["output: there is none of a run"]
