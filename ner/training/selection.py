"""Which epoch's weights are kept, and when to give up: functions of what results.json says of the epochs so far."""


def score(epoch: dict, select: str) -> float:
    """`select`: ``mean`` (and ``last``) for the mean validation F1, else a language."""
    return epoch["mean_f1"] if select in ("mean", "last") else epoch["validation"][select]["f1"]


def selected(epochs: list[dict], select: str) -> dict:
    """The epoch whose weights are kept: the last one, or the first with the best score."""
    return epochs[-1] if select == "last" else max(epochs, key=lambda epoch: score(epoch, select))


def out_of_patience(epochs: list[dict], select: str, patience: int | None) -> bool:
    """Whether the last `patience` epochs were no better than one before them."""
    return bool(patience and epochs) and len(epochs) - selected(epochs, select)["epoch"] >= patience
