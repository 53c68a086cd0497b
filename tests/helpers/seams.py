"""What a researcher adds, as the edits in CONTRIBUTING.md make it, called in a new process before a run."""

import torch
from peft import LoraConfig, get_peft_model

from tests.helpers import doubles
from tests.helpers.crf import CrfHead


def with_lora() -> None:
    """peft's defaults for xlm-roberta (rank 8 on query and value); the head trains whole."""
    make_model = doubles.original("make_model")
    doubles.replace_for_good("make_model", lambda *given: get_peft_model(
        make_model(*given), LoraConfig(modules_to_save=["classifier"])))


def with_crf() -> None:
    doubles.replace_for_good("Head", CrfHead)


def with_sgd() -> None:
    doubles.replace_for_good("adamw", lambda model, rate, decay: torch.optim.SGD(
        model.parameters(), lr=rate, momentum=0.9, weight_decay=decay))


def with_factors() -> None:
    """A tenth of the rate for the body, ten times it for the head."""
    adamw = doubles.original("adamw")

    def two_rates(model, rate: float, decay: float):
        optimizer = adamw(model, rate, decay)
        head = {id(parameter) for parameter in model.classifier.parameters()}
        for group in list(optimizer.param_groups):
            mine = [parameter for parameter in group["params"] if id(parameter) in head]
            group["params"] = [parameter for parameter in group["params"] if id(parameter) not in head]
            group["lr_factor"] = 0.1
            optimizer.add_param_group({"params": mine, "weight_decay": group["weight_decay"], "lr_factor": 10.0})
        return optimizer

    doubles.replace_for_good("adamw", two_rates)


def all_of(*prepared) -> None:
    """Several of these, and of `doubles`, as (function, *arguments) or functions."""
    for one in prepared:
        function, *arguments = one if isinstance(one, tuple) else (one,)
        function(*arguments)


def train_prepared(argv: list[str], prepared) -> None:
    """`train.py` in a process that `processes.together` starts."""
    import sys

    import train

    all_of((doubles.replace_for_good, "confusion_image", doubles.no_picture), *prepared)
    sys.exit(train.main(argv))
