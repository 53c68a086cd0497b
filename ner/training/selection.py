"""Which epoch's weights to keep, and when to stop early: functions of the epochs' entries in results.json."""


def score(epoch: dict, select: str) -> float:
    """The validation F1 that counts: of a language if `select` names one, else the mean over languages."""
    return epoch["mean_f1"] if select in ("mean", "last") else epoch["validation"][select]["f1"]


def selected(epochs: list[dict], select: str) -> dict:
    """The epoch whose weights are kept: the last, or the first with the best score."""
    return epochs[-1] if select == "last" else max(epochs, key=lambda epoch: score(epoch, select))


def out_of_patience(epochs: list[dict], select: str, patience: int | None) -> bool:
    """Whether none of the last `patience` epochs was better than all before them."""
    return bool(patience and epochs) and len(epochs) - selected(epochs, select)["epoch"] >= patience
