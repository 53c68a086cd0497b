"""Tables and plots for many runs: REPORT.md, figures/ (PNG and SVG), and the same for TensorBoard in report/.

Everything comes from the runs' results.json and predictions, so a report takes seconds and needs no model. Only the
data table reads the data again; it is left out if they are missing. Unfinished runs are dashes. Published results are
compared only on a test set of the published size: for other sentences they mean nothing.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ner.analysis import compare, notes, plots
from ner.analysis.collect import Matrix, ReportedRun, collect, crossing, curve, matrix
from ner.analysis.notes import DASH, MANY, language_table, markdown_table, points
from ner.analysis.transfer import transfer_part
from ner.data import survey
from ner.evaluation import board
from ner.files import write_whole
from ner.options import Options, UserError, as_recipe, resolve, with_role

FEWEST_WORDS = 20  # per bin of a reliability diagram


def differences(runs: Sequence[ReportedRun], rows: Matrix, langs: Sequence[str]) -> list[tuple[str, str, dict | None]]:
    """(what minus what, language, row of `compare`) for every row against the first, all against each, and every other
    run on the languages of a row against it; None if the two were not tested on the same sentences."""
    first = next(iter(rows), "")
    cells = [(f"{label} − {base}", lang, rows[label][lang], rows[base][lang])
             for label, base in [*((label, first) for label in list(rows)[1:]),
                                 *[("all", "each")] * ({"all", "each"} <= set(rows))] for lang in langs]
    shown = {run.name: run for row in rows.values() for run in row.values() if run}
    cells += [(f"{run.name} − {base.name}", lang, run, base) for run in runs for base in shown.values()
              if run.train and run.name not in shown and differ_in_options(run, base) for lang in langs]
    result = []
    for what, lang, a, b in cells:
        if a and b and a is not b and a.results and b.results and all(files := files_of_test(a, b, lang)):
            try:
                found = compare.row_of(f"test.{lang}", [compare.pair_of(*files)])
            except UserError:
                found = None
            result.append((what, lang, found))
    return result


def differ_in_options(run: ReportedRun, base: ReportedRun) -> bool:
    """Whether they learned from the same sentences, and how is all that differs."""
    data = [{**with_role(one.options, "of_data"), **{name: one.options[name] for name in (
        "train_langs", "num_train_sentences", "exclude")}} for one in (run, base)]
    return not run.has_target_text and not base.has_target_text and data[0] == data[1]


def files_of_test(a: ReportedRun, b: ReportedRun, lang: str) -> tuple[list[Path], list[Path]]:
    """The predictions of both for a test set: of several seeds those of the seeds that both have, or of all. Empty if
    they have none."""
    seeds = [run.options.get("seeds") or [run.options["seed"]] for run in (a, b)]
    common = [seed for seed in seeds[0] if seed in seeds[1]]
    found = []
    for run, own in zip((a, b), seeds, strict=True):
        several = run.options.get("seeds") is not None
        folders = [run.folder / f"seed-{seed}" for seed in common or own] if several else [run.folder]
        paths = [folder / "predictions" / f"test.{lang}.tsv" for folder in folders]
        found.append(paths if all(path.is_file() for path in paths) else [])
    return found[0], found[1]


def write_report(folder: Path, planned: Mapping[str, Options]) -> list[Path]:
    """Write a report on all runs in `folder` there; returns the paths written. ``UserError`` if there is no run."""
    runs = collect(folder, planned)
    langs = survey.union(run.options["eval_langs"] for run in runs)
    drawn: dict[str, plots.Figure] = {}
    rows = matrix(runs, langs)
    parts = [f"# {folder.resolve().name}\n", notes.opening(runs),
             transfer_part(runs, langs, drawn) or matrix_part(rows, langs, drawn),
             difference_part(runs, rows, langs), *(curve_part(runs, rows, langs, lang, drawn) for lang in langs),
             training_part(runs, langs, drawn), runs_part(runs, langs), text_part(runs),
             calibration_part(runs, rows, langs, drawn), speed_part(runs), data_part(runs)]
    text = "\n".join(part for part in parts if part)
    (folder / "figures").mkdir(exist_ok=True)
    images = {name: plots.save(figure, folder / "figures" / f"{name}.png") for name, figure in drawn.items()}
    write_whole(folder / "REPORT.md", text)
    for old in (folder / "report").glob("events.out.tfevents.*"):
        old.unlink()
    writer = board.open_board(folder / "report")
    board.log_summary(writer, text, images)
    writer.close()
    return [folder / "REPORT.md", *(folder / "figures" / f"{name}.{kind}" for name in drawn for kind in ("png", "svg")),
            folder / "report"]


def picture(drawn: dict, name: str, figure: plots.Figure, text: str) -> str:
    drawn[name] = figure
    return f"![{text}](figures/{name}.png)\n"


def matrix_part(rows: Matrix, langs: Sequence[str], drawn: dict) -> str:
    ours = {label: {lang: run.estimate(lang) if run else None for lang, run in row.items()}
            for label, row in rows.items()}
    theirs = notes.published(rows, langs)
    shown = {"test F1 with 95 % interval": ours} | ({notes.PUBLISHED_NAME: theirs} if theirs else {})
    parts = ["## F1 by training and test language\n", "Micro F1 on the test sets in points, with 95 % bootstrap "
             f"intervals over sentences. `each`: trained only on the language of the test set.{seeds_text(rows)}\n",
             markdown_table(["fine-tuned on", *langs],
                            [[label, *map(points, row.values())] for label, row in ours.items()])]
    parts.append(argmax_part(rows, langs))
    if ours:
        parts.append(picture(drawn, "f1_matrix", plots.heat_map(shown, langs),
                             "Heat map of test F1 by training and test language, the values of the table above"))
    if theirs:
        parts.append(notes.against_published(ours, theirs, langs))
        parts.append(notes.why(rows, ours, theirs, langs))
    return "\n".join(parts)


def seeds_text(rows: Matrix) -> str:
    several = {run.name: len(run.options["seeds"]) for row in rows.values() for run in row.values()
               if run and run.options.get("seeds")}
    return (f" Means over seeds: {', '.join(f'{name} ({count})' for name, count in several.items())}; the others have "
            "one." if several else "")


def argmax_part(rows: Matrix, langs: Sequence[str]) -> str:
    """The same cells without legal decoding; empty if no row had it."""
    scored = {label: {lang: (run.test(lang) or {}).get("f1_argmax") if run else None for lang, run in row.items()}
              for label, row in rows.items()}
    legal = any(run.options.get("decode") == "viterbi" for row in rows.values() for run in row.values() if run)
    if not legal or not any(f1 is not None for row in scored.values() for f1 in row.values()):
        return ""
    return "\n".join(["These are the most probable legal tags (`decode: viterbi`). The most probable tag of each word, "
                      "which publications usually score (argmax), gives:\n",
                      markdown_table(["fine-tuned on", *langs],
                                     [[label, *(DASH if f1 is None else f"{100 * f1:.1f}" for f1 in row.values())]
                                      for label, row in scored.items()])])


def difference_part(runs: Sequence[ReportedRun], rows: Matrix, langs: Sequence[str]) -> str:
    found = differences(runs, rows, langs)
    if not found:
        return ""
    cells = [[what, lang,
              f"{100 * row['difference']:+.1f} ({100 * row['interval'][0]:+.1f} to {100 * row['interval'][1]:+.1f})",
              compare.p_value(row["p"]), compare.p_value(row["p_randomisation"])]
             if row else [what, lang, "other test sentences", DASH, DASH] for what, lang, row in found]
    return "\n".join(["## Differences\n", "Both models on the same test sentences: difference in F1 (points) with "
                      "95 % interval, and two-sided p of the paired bootstrap and of approximate randomisation; of "
                      "several seeds, the mean over those that both have (if there are none, over all). The seeds "
                      "are taken as given: other seeds may differ by more.\n",
                      markdown_table(["", "language", "difference", "p bootstrap", "p randomisation"], cells),
                      notes.gains([(what, lang, row) for what, lang, row in found if row])])


def curve_part(runs: Sequence[ReportedRun], rows: Matrix, langs: Sequence[str], lang: str, drawn: dict) -> str:
    found = curve(runs, lang)
    if len(found) < 2:
        return ""
    source = next(iter(rows))
    zero_shot = rows[source][lang]
    level = zero_shot.estimate(lang) if zero_shot and source != lang else None
    theirs = notes.PUBLISHED_CURVE if lang == "fr" and notes.comparable([run.test(lang) for run in runs], lang) else {}
    f1 = [(n, estimate[0]) for n, estimate in found]
    where = crossing(f1, level[0]) if level else None
    figure = plots.learning_curve(langs, lang, found, (source, level) if level else None, theirs, where)
    lines = [[f"{n:,}", points(dict(found).get(n)), f"{100 * theirs[n]:.1f}" if n in theirs else DASH]
             for n in sorted({*dict(found), *theirs})]
    header = ["labelled sentences", "test F1", "published (validation F1)"][: 3 if theirs else 2]
    text = notes.crossing_text(lang, source, f1, level, crossing, theirs) if level else ""
    return "\n".join([f"## Learning curve: {lang}\n",
                      picture(drawn, f"learning_curve_{board.tag_part(lang)}", figure,
                              f"Line chart of F1 on {lang} by labelled sentences, the values of the table below"),
                      markdown_table(header, [line[: len(header)] for line in lines]), text])


def training_part(runs: Sequence[ReportedRun], langs: Sequence[str], drawn: dict) -> str:
    f1, loss = {}, {}
    for run in runs:
        epochs = run.train.get("epochs")
        if epochs:
            xs = [epoch["epoch"] for epoch in epochs]
            of_langs = {lang: [epoch["validation"][lang] for epoch in epochs] for lang in epochs[0]["validation"]
                        if all(lang in epoch["validation"] for epoch in epochs)}
            f1[run.name] = {lang: (xs, [100 * one["f1"] for one in scores]) for lang, scores in of_langs.items()}
            loss[run.name] = {"training": (xs, [epoch["train_loss"] for epoch in epochs])} | {
                lang: (xs, [one["loss"] for one in scores]) for lang, scores in of_langs.items()}
    if not f1:
        return ""
    return "\n".join([
        "## Training curves\n",
        picture(drawn, "validation_f1", plots.panels(langs, f1, "epoch", "validation F1 (points)"),
                "Line charts of validation F1 by epoch, one per run, a line per language"),
        picture(drawn, "loss", plots.panels(langs, loss, "epoch", "loss (nats per word)", black="training"),
                "Line charts of the loss by epoch, training (mean over the epoch, with dropout) and validation")])


def runs_part(runs: Sequence[ReportedRun], langs: Sequence[str]) -> str:
    def cells(run: ReportedRun) -> list[str]:
        return [points(run.estimate(lang), (run.test(lang) or {}).get("f1_sd")) for lang in langs]

    def unseen(metrics: dict | None) -> str:
        metrics = metrics or {}
        found = metrics.get("f1_unseen")
        if found is None:
            return DASH
        ends = metrics.get("f1_unseen_ci95")
        text = points((found, *ends)) if ends else f"{100 * found:.1f}"
        return f"{text}, {metrics.get('unseen_sentences') or 0:,.0f}"

    head = [[run.label, notes.languages(run.options) if run.train or not run.results else DASH,
             f"{run.train['sentences']:,}" if run.train else DASH] for run in runs]
    parts = ["## All runs\n", "Test F1 in points with 95 % interval; after ±, the standard deviation over seeds.\n",
             language_table(["run", "languages", "sentences", *langs],
                            [[*first, *cells(run)] for first, run in zip(head, runs, strict=True)])]
    if any(unseen(run.test(lang)) != DASH for run in runs for lang in langs):
        parts += ["The same for test sentences that do not occur (word for word) in the run's training data, and "
                  "their number:\n",
                  language_table(["run", *langs],
                                 [[run.name, *(unseen(run.test(lang)) for lang in langs)] for run in runs])]
    return "\n".join(parts)


def text_part(runs: Sequence[ReportedRun]) -> str:
    """What the runs with target text have used of it."""
    lines = [[run.name, notes.short(run.options["teacher"]), lang, f"{one['tagged']:,.0f}", f"{one['sentences']:,.0f}",
              f"{one['words']:,.0f}", f"{100 * one['masked'] / one['words']:.1f} %"]
             for run in runs for lang, one in ((run.train.get("pseudo") or {}).get("languages") or {}).items()]
    if not lines:
        return ""
    header = ["run", "teacher", "language", "sentences tagged", "trained on", "words", "masked"]
    text = ("These runs are not zero-shot: they also learned from unlabelled sentences of these languages as another "
            "model, the teacher, had tagged them. Masked words, of which it was not sure enough, were not learned.\n")
    return "\n".join(["## With target text\n", text, markdown_table(header, lines)])


def calibration_part(runs: Sequence[ReportedRun], rows: Matrix, langs: Sequence[str], drawn: dict) -> str:
    def ece(metrics: dict | None) -> str:
        return f"{100 * metrics['ece']:.2f}" if metrics and metrics.get("ece") is not None else DASH

    if all(ece(run.test(lang)) == DASH for run in runs for lang in langs):
        return ""
    diagrams = {}
    for run in {id(run): run for row in rows.values() for run in row.values() if run}.values():
        bins = {lang: (run.test(lang) or {}).get("calibration") for lang in langs}
        dots = {lang: [(x, y) for x, y, words in found or () if words >= FEWEST_WORDS] for lang, found in bins.items()}
        lines = {lang: ([x for x, _ in of_lang], [y for _, y in of_lang]) for lang, of_lang in dots.items() if of_lang}
        if lines:
            diagrams[run.name] = lines
    parts = ["## Calibration\n", "Expected calibration error over words (15 bins) on the test sets, in points of "
             "probability. Most words are outside entities and easy, so a low value means little.\n",
             language_table(["run", *langs], [[run.name, *(ece(run.test(lang)) for lang in langs)] for run in runs])]
    if diagrams and len(langs) <= MANY:
        figure = plots.panels(langs, diagrams, "confidence (probability of the predicted tag)", "accuracy",
                                diagonal=True)
        parts.append(picture(drawn, "reliability", figure,
                             "Line charts of accuracy by confidence, one per run, a line per language"))
        parts.append(f"Below the diagonal: overconfident. Bins with fewer than {FEWEST_WORDS} words are left out.\n")
    return "\n".join(parts)


def speed_part(runs: Sequence[ReportedRun]) -> str:
    lines = [[run.name, f"{run.train['sentences']:,}", run.train.get("steps", DASH), f"{run.train['seconds'] / 60:.1f}",
              f"{run.train['sentences_per_second']:.1f}", f"{run.train['tokens_per_second']:,.0f}",
              f"{run.train['peak_memory_mib']:,.0f}", run.train.get("processes", DASH)] for run in runs if run.train]
    if not lines:
        return ""
    header = ["run", "sentences", "steps", "training (min)", "sentences/s", "subwords/s", "peak memory (MiB)",
              "processes"]
    text = ("Minutes and rates are for training steps only, without evaluation. Peak memory is that of the main "
            "process over the whole run (resident, or allocated on the GPU).\n")
    return "\n".join(["## Speed and memory\n", text, markdown_table(header, lines), notes.versions(runs)])


def data_part(runs: Sequence[ReportedRun]) -> str:
    try:
        groups = survey.load([resolve(run.options) for run in runs])
    except UserError:
        return "## Data\n\nThe data were not found, so there are no counts.\n"
    parts = ["## Data\n"]
    for group in groups:
        header = ["split", "language", "sentences", "words", *map(escape, group.tags.types), "also in train",
                  "also in validation"]
        lines = [[row.split, row.lang, f"{row.sentences:,}", f"{row.words:,}",
                  *(f"{n:,}" if row.split != "unlabelled" else DASH for n in row.entities.values()),
                  *(share(row.repeated.get(earlier), row.sentences) for earlier in ("train", "validation"))]
                 for row in survey.rows(group.corpus, group.tags)]
        parts += [f"{notes.data_name(as_recipe(group.runs[0]))}. Runs may train on a part. `also in`: sentences "
                  "that also occur, word for word, in that split of the language.\n",
                  markdown_table(header, lines)]
    return "\n".join(parts)


def share(count: int | None, total: int) -> str:
    return DASH if count is None else f"{count:,} ({100 * count / total:.1f} %)"
