"""The sentences of a report, and the published results that it compares with.

Sentences are generated from the results, so that a report cannot claim what its runs do not show. The published results
are from chapter 4 of Tunstall, von Werra and Wolf, Natural Language Processing with Transformers (O'Reilly 2022):
xlm-roberta-base on a sample of PAN-X, one seed.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tabulate import tabulate

from ner.analysis.plots import Estimate, rounded

DASH = "–"
MANY = 6  # test languages: above this, a table with a column per language is too wide
PUBLISHED_NAME = "published, XLM-R-base"
PUBLISHED = {
    "de": {"de": 0.8590, "fr": 0.7079, "it": 0.6910, "en": 0.5962},
    "de-fr": {"de": 0.862, "fr": 0.848, "it": 0.793, "en": 0.688},
    "each": {"de": 0.8590, "fr": 0.8321, "it": 0.7696, "en": 0.5962},
    "all": {"de": 0.8592, "fr": 0.8568, "it": 0.8646, "en": 0.7678},
}
PUBLISHED_TRAINED = {"de": ["de"], "de-fr": ["de", "fr"], "all": ["de", "fr", "it", "en"]}
PUBLISHED_SENTENCES = {"de": 6290, "fr": 2290, "it": 840, "en": 590}  # of its test sets
PUBLISHED_CURVE = {  # French
    250: 0.008093, 500: 0.161066, 1000: 0.639231, 2000: 0.771843, 4000: 0.822527, 4580: 0.829342}


def markdown_table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """A Markdown table; all columns but the first are right-aligned."""
    escaped = [[str(cell).replace("|", "\\|") for cell in line] for line in (header, *rows)]
    return tabulate(escaped[1:], escaped[0], "pipe", disable_numparse=True,
                    colalign=["left", *["right"] * (len(header) - 1)]) + "\n"


def language_table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """A Markdown table with a column per language, or a row per language if there are many."""
    if len(header) > MANY + 3:
        header, *rows = zip(header, *rows, strict=True)
    return markdown_table(header, rows)


def points(estimate: Estimate | None, deviation: float | None = None) -> str:
    """F1 in points with its interval: 85.9 (85.2–86.6)."""
    if estimate is None:
        return DASH
    f1, low, high = (f"{100 * value:.1f}" for value in estimate)
    return f"{f1}{f' ± {100 * deviation:.1f}' if deviation is not None else ''} ({low}–{high})"


def comparable(tests: Sequence[dict | None], lang: str) -> bool:
    """Whether a test set has the published size, according to the metrics of runs that were tested on it."""
    return any(test and test["sentences"] == PUBLISHED_SENTENCES.get(lang) for test in tests)


def published(rows: Mapping, langs: Sequence[str]) -> dict[str, dict[str, tuple[float] | None]]:
    """The published F1 of the rows that both have, if the test set has the published size; empty if none has."""
    runs = [run for row in rows.values() for run in row.values() if run]
    same = [lang for lang in langs if comparable([run.test(lang) for run in runs], lang)]
    known = {label: PUBLISHED[name] for label, row in rows.items() if (name := published_name(label, row))}
    return {label: {lang: (row[lang],) if lang in same else None for lang in langs}
            for label, row in known.items()} if same else {}


def published_name(label: str, row: Mapping) -> str | None:
    """The published row that was trained on the same languages, and on nothing else."""
    if any(run.has_target_text for run in row.values() if run):
        return None
    if label == "each":
        return label
    trained = next((set(run.options["train_langs"]) for run in row.values() if run), set())
    return next((name for name, langs in PUBLISHED_TRAINED.items() if set(langs) == trained), None)


def short(name: str) -> str:
    """A Hub name unchanged; the last part of a path."""
    return Path(name).name if Path(name).is_absolute() or name.startswith(".") or Path(name).exists() else name


def data_name(options: Mapping) -> str:
    fractions = ", ".join(f"{lang} {share:g}" for lang, share in options["fractions"].items())
    return (short(options["data_dir"] or options["dataset"])
            + (f" (share of each split: {fractions})" if fractions else ""))


def languages(options: Mapping) -> str:
    """What a run was trained on: ``de-fr``, or ``de, text of fr-it`` with a teacher."""
    text = f", text of {'-'.join(options['pseudo_langs'])}" if options["pseudo_langs"] else ""
    return "-".join(options["train_langs"]) + text


def unique(values) -> str:
    return " or ".join(dict.fromkeys(str(value) for value in values))


def opening(runs: Sequence) -> str:
    done = [run for run in runs if run.results]
    missing = [run.name for run in runs if not run.results]
    text = f"{len(done)} of {len(runs)} runs are finished. " + (f"Missing: {', '.join(missing)}. " if missing else "")
    return text + f"Encoder: {unique(short(run.options['model']) for run in runs)}. " \
                  f"Data: {unique(data_name(run.options) for run in runs)}.\n"


def versions(runs: Sequence) -> str:
    found = [run.results["versions"] for run in runs if run.results]
    return ("Versions: "
            f"{unique(', '.join(f'{name} {version}' for name, version in one.items() if version) for one in found)}.\n")


def against_published(ours: Mapping, theirs: Mapping, langs: Sequence[str]) -> str:
    def cell(mine, published) -> str:
        if not published or not mine:
            return f"{100 * published[0]:.1f}" if published else DASH
        outside = "" if mine[1] <= published[0] <= mine[2] else "*"
        return f"{100 * published[0]:.1f}{outside} ({100 * (mine[0] - published[0]):+.1f})"

    lines = [[label, *(cell(ours[label][lang], row[lang]) for lang in langs)] for label, row in theirs.items()]
    return "\n".join(["The published test F1 (xlm-roberta-base) in points; in brackets, ours minus the published one. "
                      "*: outside our interval.\n",
                      markdown_table(["fine-tuned on", *langs], lines)])


def why(rows: Mapping, ours: Mapping, theirs: Mapping, langs: Sequence[str]) -> str:
    """Where our results differ from the published ones, and what is known about the reasons."""
    pairs = [(f"{label}/{lang}", ours[label][lang], row[lang][0]) for label, row in theirs.items() for lang in langs
             if row[lang] and ours[label][lang]]
    if not pairs:
        return ""
    above = [name for name, mine, value in pairs if value < mine[1]]
    below = [name for name, mine, value in pairs if value > mine[2]]
    runs = [run for row in rows.values() for run in row.values() if run and run.results]
    models = dict.fromkeys(short(run.options["model"]) for run in runs)
    sizes = {lang: run.test(lang)["sentences"] for lang in langs for run in runs if run.test(lang)}
    widest = max((mine[2] - mine[1]) / 2 for _, mine, _ in pairs)
    encoder = (f"Another encoder: {', '.join(models)} instead of xlm-roberta-base, trained with learning rate "
               f"{unique(run.options['learning_rate'] for run in runs)}, "
               f"{unique(run.options['epochs'] for run in runs)} epochs "
               f"and batches of {unique(run.options['batch_size'] for run in runs)} (published: 5e-05, 3 and 64).")
    lines = [f"Above the published F1, outside our interval: {', '.join(above) or 'none'}; "
             f"below: {', '.join(below) or 'none'}; "
             f"within: {len(pairs) - len(above) - len(below)} of {len(pairs)}. Reasons:\n",
             *([] if set(models) == {"xlm-roberta-base"} else [f"- {encoder}"]),
             *(["- Legal decoding: the published figures are argmax; ours by argmax are in the second table."]
               if any(run.options.get("decode") == "viterbi" for run in runs) else []),
             f"- Small test sets, {min(sizes.values()):,.0f} to {max(sizes.values()):,.0f} sentences: intervals of up "
             f"to ±{100 * widest:.1f} points here. The published results have none, but theirs would be as wide. The "
             "intervals cover variation over sentences, not over seeds; both sides have one seed per cell unless "
             "stated."]
    if "each" in theirs and theirs["each"].get("en"):
        lines.append("- The published cell each/en repeats the zero-shot result de/en (59.6), while that run's "
                     "published validation F1 was 57.9: treat that cell as suspect.")
    return "\n".join(lines) + "\n"


def gains(found: Sequence[tuple[str, str, Mapping]]) -> str:
    """Which differences are more than chance."""
    lines = []
    for what in dict.fromkeys(name for name, _, _ in found):
        rows = [(lang, row) for name, lang, row in found if name == what]
        better = [lang for lang, row in rows if row["interval"][0] > 0]
        worse = [lang for lang, row in rows if row["interval"][1] < 0]
        unclear = [lang for lang, _ in rows if lang not in better + worse]
        lines.append(f"- {what}: " + "; ".join(f"{word} on {', '.join(langs)}" for word, langs in (
            ("better", better), ("worse", worse), ("within chance", unclear)) if langs))
    return "\n".join(lines) + "\n"


def crossing_text(lang: str, source: str, f1: Sequence[tuple[int, float]], zero_shot: tuple[float, float, float],
                  crossing: Callable, published_curve: Mapping[int, float]) -> str:
    """At how many labelled sentences training on `lang` catches up with zero-shot F1 and with its interval's ends."""
    def place(points, level) -> str:
        where = crossing(points, level)
        if where:
            return rounded(where)
        return f"fewer than {points[0][0]:,}" if points[0][1] >= level else f"more than {points[-1][0]:,}"

    value, low, high = zero_shot
    if f1[0][1] >= high:
        text = (f"Training on {lang} alone is above zero-shot transfer from {source} ({100 * value:.1f}) and its 95 % "
                f"interval with **{f1[0][0]:,}** labelled sentences, the fewest here.")
    else:
        text = (f"Training on {lang} alone reaches zero-shot transfer from {source} ({100 * value:.1f}) at about "
                f"**{place(f1, value)}** labelled sentences ({place(f1, low)} and {place(f1, high)} at the ends of its "
                "95 % interval; interpolated on the logarithmic axis).")
    if published_curve:
        theirs = list(published_curve.items())
        text += (f" Published, for de, by interpolation on the logarithmic axis: {place(theirs, PUBLISHED['de'][lang])}"
                 ", where the curve is validation F1 and the zero-shot result test F1; other encoders need other "
                 "numbers.")
    return text + "\n"
