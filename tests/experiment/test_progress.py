"""What a run derives from its state: a checkpoint's progress is accepted only if the run can have reached it."""

from types import SimpleNamespace

import pytest
import torch

from ner.experiment.resume import check_progress
from ner.training.loop import Progress

SCORE = {"f1": 0.5, "loss": 1.0}
MEAN = {name: torch.zeros(p.shape) for name, p in torch.nn.Linear(2, 3).named_parameters()}


def epoch(number: int) -> dict:
    return {"epoch": number, "step": 2 * number, "updates": 2 * number, "train_loss": 0.3, "validation": {"de": SCORE},
            "mean_f1": 0.5}


def state(best=None, mean=None, planned=(), **changes):
    """After step 4 of 5, 2 an epoch."""
    values = {"step": 4, "updates": 4, "seconds": 1.0, "epochs": [epoch(1), epoch(2)]}
    progress = Progress(**{**values, **changes})
    ended = {3: 1, 4: 2, 5: 3}.get(progress.step)
    return SimpleNamespace(total=5, per_epoch=2, epochs_ended=ended, validation={"de": None}, progress=progress,
                           bare=torch.nn.Linear(2, 3), best=best or {},
                           mean=mean or {}, snapshot_steps=list(planned))


def test_what_a_run_has_written():
    check_progress(state(best=dict(torch.nn.Linear(2, 3).named_parameters())))
    check_progress(state(step=5, epochs=[epoch(1), epoch(2), epoch(2)]))  # the last epoch is a short one
    check_progress(state(step=3, loss_sum=0.5, words=7, epochs=[epoch(1)]))
    check_progress(state(epochs=[epoch(1)], loss_sum=0.5, words=7))  # not evaluated yet
    check_progress(state(step=5, epochs=[epoch(1), epoch(2)]))
    check_progress(state(planned=[2, 4, 5], snapshots=[2, 4], mean=MEAN))


@pytest.mark.parametrize("changes, message", [
    ({"step": "4"}, "'step' is missing or not what"), ({"step": 6}, "'step' is"), ({"updates": 10**30}, "'updates' is"),
    ({"seconds": 0}, "'seconds' is"), ({"words": None}, "'words' is"),
    ({"loss_sum": float("nan")}, "not JSON compliant"),
    ({"epochs": []}, "0 epochs after step 4"), ({"step": 3}, "2 epochs after step 3"),
    ({"epochs": [epoch(1), None]}, "'epochs/1' is"),
    ({"epochs": [epoch(1), epoch(2) | {"validation": {"fr": SCORE}}]}, "other languages"),
    ({"epochs": [epoch(1), epoch(2) | {"updates": 10**9}]}, "'epochs/1/updates' is"),
    ({"best": {"weight": torch.zeros(3, 2)}}, "the best weights belong to another model"),
    ({"planned": [3], "snapshots": [3], "mean": {"weight": torch.zeros(3, 2)}}, "the mean weights belong to another"),
    ({"planned": [2, 4, 5], "snapshots": [2], "mean": MEAN}, "1 snapshots"),
    ({"planned": [2, 4, 5], "snapshots": [2, 4]}, "2 snapshots"),
    ({"snapshots": [4], "mean": MEAN}, "1 snapshots"),
    ({"planned": [4], "snapshots": [7], "mean": MEAN}, "snapshots/0"),
])
def test_impossible_progress(changes, message):
    with pytest.raises(ValueError, match=message):
        check_progress(state(**changes))
