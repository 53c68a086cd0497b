import json

import pytest

from ner import benchmark


def test_flops_by_hand():
    # one layer, H = 2, I = 3, a window of 4 tokens of which 1 is labelled:
    # 4 tokens of 4*4 + 2*6 + 2*4*2, less 3 of 4 + 12
    assert benchmark.flops([4], 1, 1, 2, 3) == 6 * (4 * (16 + 12 + 16) - 3 * 16)
    assert benchmark.flops([4, 4], 8, 2, 2, 3) == 2 * 6 * 2 * 4 * (16 + 12 + 16)


def test_figures_drop_the_first_steps_and_are_totals():
    slow = [[100.0, [5], 5, 3]] * benchmark.DROPPED
    steps = slow + [[1.0, [6, 4], 12, 5], [2.0, [7, 4, 3], 21, 5]]
    figures = benchmark.figures({"steps": steps, "memory": 7.0, "eval_sentences": 30, "eval_seconds": 2.0})
    assert figures == {"sentences/s": 5 / 3, "tokens/s": 8.0, "evaluation sentences/s": 15.0, "memory MiB": 7.0,
                       "padding": pytest.approx(1 - 24 / 33)}


def test_all_arms_for_real(capsys):
    """The built-in encoder and corpus, few steps: figures come out of every arm and agree with each other."""
    assert benchmark.main(["--steps=4", "--batch_size=4", "--eval_sentences=12", "--sentences=40"]) == 0
    *table, last = capsys.readouterr().out.strip().split("\n")
    ratios = json.loads(last)
    assert {"train_ratio_trainer", "train_ratio_grouped", "eval_ratio_trainer", "memory_ratio_trainer",
            "gemm_share"} <= set(ratios)
    rows = {line.split()[0]: [float(cell.rstrip("%")) for cell in line.split()[1:]] for line in table[1:4]}
    assert set(rows) == set(benchmark.ARMS)
    assert ratios["train_ratio_trainer"] == pytest.approx(rows["ours"][0] / rows["trainer"][0], rel=0.1)
    assert ratios["memory_ratio_trainer"] < 0.75, "the embedding table alone makes the difference"
