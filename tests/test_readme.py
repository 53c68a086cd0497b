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
