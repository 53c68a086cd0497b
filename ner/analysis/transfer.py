"""The part of a report for many test languages: a table with a row per language, beside published results, and a plot.

A run is compared with published results only if it was trained on English alone and tested on whole test sets of PAN-X.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from ner.analysis import languages, plots
from ner.analysis.collect import ReportedRun
from ner.analysis.notes import DASH, MANY, markdown_table, points


def transfer_part(runs: Sequence[ReportedRun], langs: Sequence[str], drawn: dict) -> str:
    """The section, and its plot in `drawn`; empty if there are not many languages."""
    if len(langs) <= MANY:
        return ""
    known = {lang: languages.PANX.get(lang) for lang in langs}
    published = {lang: fact.published for lang, fact in known.items() if fact and comparable(runs, lang)}
    ours = {run.label: {lang: run.estimate(lang) for lang in langs} for run in runs}
    header = ["language", "family", "script", *ours, *["XLM-R-base, published"] * bool(published)]
    lines = [[f"{fact.name} ({lang})" if fact else lang, *((fact.family, fact.script) if fact else (DASH, DASH)),
              *(points(of_run[lang]) for of_run in ours.values()),
              *([f"{100 * published[lang]:.1f}" if lang in published else DASH] if published else [])]
             for lang, fact in known.items()]
    means = ["**mean**", "", "", *(mean(run, langs) for run in runs)]
    if published:  # a mean over other languages than ours would mislead
        means.append(f"{100 * languages.published_mean(published):.1f}" if len(published) == len(langs) else DASH)
    argmax = [argmax_mean(run, langs) for run in runs]
    by_argmax = [["mean by argmax", "", "", *argmax, *([DASH] if published else [])]] if set(argmax) != {DASH} else []
    drawn["languages"] = plots.by_language(list(langs), ours, {"XLM-R-base, published": published} if published else {})
    compared = against({run.name: ours[run.label] for run in zero_shot(runs)}, published) if published else ""
    text = "Micro F1 on the test sets in points, with 95 % bootstrap intervals over sentences."
    if by_argmax:
        text += (" These are the most probable legal tags (`decode: viterbi`). Publications usually score the most "
                 "probable tag of each word (argmax): compare their means with the last line.")
    return "\n".join(["## F1 by language\n", f"{text}\n", markdown_table(header, [*lines, means, *by_argmax]),
                      "![Dot plot of test F1 by language, the values of the table above](figures/languages.png)\n",
                      *([compared] if compared else [])])


def zero_shot(runs: Sequence[ReportedRun]) -> list[ReportedRun]:
    """Without runs that had target text, which the published ones had not."""
    return [run for run in runs if not run.has_target_text]


def comparable(runs: Sequence[ReportedRun], lang: str) -> bool:
    """Whether every zero-shot run that has results for a language was trained on English and tested on a whole test
    set."""
    tests = [(run.options["train_langs"], test) for run in zero_shot(runs) if (test := run.test(lang))]
    return bool(tests) and all(trained == ["en"] and test["sentences"] in languages.TEST_SENTENCES
                               for trained, test in tests)


def mean(run: ReportedRun, langs: Sequence[str]) -> str:
    """The mean of micro F1 over languages, in points, with its interval if the run has these languages and no other;
    a dash if it lacks one."""
    estimates = [run.estimate(lang) for lang in langs]
    if not all(estimates):
        return DASH
    value, interval = fmean(one[0] for one in estimates if one), None
    if set(run.options["eval_langs"]) == set(langs):
        interval = (run.results or {})["eval"]["test"].get("mean_f1_ci95")
    return f"**{points((value, *interval))}**" if interval else f"**{100 * value:.1f}**"


def argmax_mean(run: ReportedRun, langs: Sequence[str]) -> str:
    """The same without legal decoding; a dash for a run that had none."""
    found = [(run.test(lang) or {}).get("f1_argmax") for lang in langs]
    known = [f1 for f1 in found if f1 is not None]
    if run.options.get("decode") != "viterbi" or len(known) < len(found):
        return DASH
    return f"{100 * fmean(known):.1f}"


def against(ours: Mapping[str, Mapping[str, plots.Estimate | None]], published: Mapping[str, float]) -> str:
    """In how many languages a run is above the published result, and what else is published."""
    lines, every = [], len(languages.PANX)
    for name, of_run in ours.items():
        ends = {lang: (mine[1], mine[2], value) for lang, value in published.items() if (mine := of_run[lang])}
        above = [lang for lang, (low, _, value) in ends.items() if low > value]
        below = [lang for lang, (_, high, value) in ends.items() if high < value]
        within = [lang for lang in ends if lang not in above + below]
        groups = (("above XLM-R-base's published F1", above), ("below", below),
                  ("published F1 in our interval", within))
        lines.append(f"- {name}: " + "; ".join(f"{what} on {', '.join(found)}" for what, found in groups if found))
    others = ", ".join(f"{name} {100 * value:.1f}" for name, value in languages.MEANS.items())
    over = "" if len(published) == every else f" Ours are over {len(published)} of them."
    lines.append(f"\nPublished means over all {every} languages: {others}.{over} The results by language above are "
                 f"from another publication, where XLM-R-base has "
                 f"{100 * languages.published_mean(languages.PANX):.1f} over all {every}.")
    return "\n".join(lines) + "\n"
