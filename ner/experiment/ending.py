"""The end of a run: which weights to keep, their test, and the files of a finished run."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from ner.data.encoded import Encoded
from ner.evaluation import board, per_language, predictions, scoring
from ner.evaluation.per_language import Scored, metrics_of
from ner.experiment import publish
from ner.experiment.card import model_card
from ner.experiment.folder import write_results
from ner.experiment.run import Run, selected_epoch
from ner.files import write_whole
from ner.options import Options
from ner.training import averaging, checkpoint, selection


def load_weights_to_keep(state: Run) -> dict | None:
    """Load into the model the weights to keep: those of the selected epoch, or the mean of the snapshots if its
    validation F1 is at least as good. Returns `average` of results.json, None if no snapshot was taken."""
    progress, options = state.progress, state.options
    epoch = selected_epoch(state)
    averaging.load(state.bare, state.best)
    if not state.mean:
        return None
    weights = {name: p.detach().clone() for name, p in state.bare.named_parameters() if name in state.mean}
    averaging.load(state.bare, state.mean)
    scored = per_language.evaluate(state.bare, state.validation, state.tags, state.padding, state.accelerator,
                                   decode=options.decode, brief=True)
    metrics, mean_f1 = metrics_of(scored), per_language.mean_f1(scored)
    average = {"updates": progress.snapshots, "validation": metrics, "mean_f1": mean_f1}
    average["kept"] = selection.score(average, options.select) >= selection.score(epoch, options.select)
    if not average["kept"]:
        averaging.load(state.bare, weights)
    by_lang = "  ".join(f"{lang} {100 * item.metrics['f1']:.2f}" for lang, item in scored.items())
    state.accelerator.print(f"mean of {len(progress.snapshots)} snapshots: validation F1 {by_lang}, "
                            f"mean {100 * mean_f1:.2f}: "
                            + ("kept" if average["kept"] else f"not kept, as epoch {epoch['epoch']} is better"))
    if state.writer:
        board.log_f1(state.writer, progress.step, "average_f1", metrics, mean_f1)
    return average


def updates_of(state: Run, average: dict | None) -> list[int]:
    """The number of updates that the weights to keep had seen; of a mean, each snapshot's."""
    return state.progress.snapshots if average and average["kept"] else [selected_epoch(state)["updates"]]


def finish(state: Run, writer: SummaryWriter, results: dict, scored: dict[str, Scored]) -> None:
    """Write the files of a finished run; results.json last, because it marks the run as finished."""
    print(f"\ntest\n{per_language.f1_table(scored)}")
    write_whole(state.folder / "model" / "README.md", model_card(results))
    for lang, item in scored.items():
        tagged = predictions.sentences(state.test[lang], item.predictions, state.tags)
        predictions.write_predictions(state.folder / "predictions" / f"test.{lang}.tsv", tagged)
    board.log_f1(writer, state.progress.step, "test_f1", metrics_of(scored), per_language.mean_f1(scored))
    log_details(state, writer, scored, state.test, "test")
    writer.close()
    write_results(state.folder, results)
    checkpoint.remove(state.folder / "checkpoints")
    print(f"\n{state.folder}: results.json, model/, predictions/, TensorBoard events")


def upload(folder: Path, options: Options) -> None:
    if options.push_to_hub:
        print(publish.push(folder / "model", options.push_to_hub, options.public))


def log_details(state: Run, writer: SummaryWriter, scored: dict[str, Scored], languages: dict[str, Encoded],
                split: str) -> None:
    for lang, item in scored.items():
        board.log_report(writer, state.progress.step, f"report_{split}/{lang}",
                         board.classification_report(item.metrics))
        matrix = scoring.confusion(languages[lang].gold, item.predictions.labels, len(state.tags.names))
        board.log_confusion(writer, state.progress.step, lang, split, matrix, state.tags.names)
