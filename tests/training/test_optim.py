"""AdamW's groups and the schedule against what transformers does."""

import pytest
import torch
from transformers import Trainer, XLMRobertaForTokenClassification, get_linear_schedule_with_warmup

from ner.model.roberta import TokenClassifier
from ner.training.optim import adamw, learning_rate
from tests.helpers.models import small_config


@pytest.mark.parametrize("total, ratio", [(1, 0.0), (7, 0.0), (10, 0.1), (33, 0.06), (100, 0.5), (3, 0.9)])
def test_rate_is_that_of_transformers(total, ratio):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5e-5)
    warmup = -(-total * ratio // 1)  # TrainingArguments.get_warmup_steps: the ratio rounded up
    schedule = get_linear_schedule_with_warmup(optimizer, int(warmup), total)
    for update in range(total):
        assert learning_rate(update, total, 5e-5, ratio) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12, abs=0)
        optimizer.step()
        schedule.step()


def test_rate_ends_at_zero_and_stays_there():
    assert [learning_rate(update, 4, 8.0, 0.5) for update in range(6)] == [0.0, 4.0, 8.0, 4.0, 0.0, 0.0]


def test_groups_follow_the_trainer():
    decayed = set(Trainer.get_decay_parameter_names(None, XLMRobertaForTokenClassification(small_config())))
    ours = TokenClassifier(small_config())
    optimizer = adamw(ours, 1e-3, 0.01)
    names = {parameter: name for name, parameter in ours.named_parameters()}
    groups = {group["weight_decay"]: {names[p] for p in group["params"]} for group in optimizer.param_groups}
    assert groups[0.01] == decayed
    assert groups[0.0] == set(names.values()) - decayed
    assert all(group["betas"] == (0.9, 0.999) and group["eps"] == 1e-8 for group in optimizer.param_groups)
