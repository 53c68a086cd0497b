"""The model card, `model/README.md`.

What it says of the run comes from `results.json` alone, so that it always agrees with the metrics. Anything else is
left out (a licence above all), and of the user's paths it shows at most the last part. The sentences and entities that
it shows were written for the built-in corpus; none is from a user's data.
"""

import re
from collections import Counter
from collections.abc import Iterable
from html import escape
from pathlib import Path, PureWindowsPath

import yaml
from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id, yaml_dump
from tabulate import tabulate

from ner.data.swiss import generate
from ner.options import with_role
from ner.tags import spans
from ner.training import machine

CITATION = Path(__file__).parent.parent.parent / "CITATION.cff"
EXAMPLES = 3  # of each type and language
BUILTIN, BUILTIN_BASE = "e5-small", "intfloat/multilingual-e5-small"
SWISS, PANX = ("built-in-swiss", None), ("PAN-X", "google/xtreme")
PANX_NAME = re.compile("pan-?x|wikiann|xtreme", re.IGNORECASE)
LEGAL = ("They are of the most probable legal tags of a sentence (Viterbi). The pipeline of transformers takes the "
         "most probable tag of each word, whose F1 is `f1_argmax` in the run's `results.json`.")
USE = """```python
from transformers import pipeline

tagger = pipeline("token-classification", model="MODEL", aggregation_strategy="simple")
tagger("Anna Keller arbeitet bei der Post in Chur .")
```

To get the scores above, split text into words as in training, with punctuation as separate words (`Chur .`, not
`Chur.`), and take each word's tag from its first subword. `python evaluate.py tag MODEL "text"`, from the code that
trained this model, does both."""


def base_name(path: str) -> str:
    """The last part of a path (of any system), on one line: all that a card may show of it."""
    return " ".join(PureWindowsPath(path).name.replace("`", " ").split()).strip(". ") or "local"


def hub_name(name: str) -> str | None:
    """`name` if it is a name on the Hub; None for a path. As in the loaders, an existing folder takes precedence."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return None
    return None if Path(name).exists() else name


def data_source(options: dict) -> tuple[str, str | None]:
    """The data set's name for readers, and its id on the Hub if it came from there."""
    if options.get("data_dir"):
        return base_name(options["data_dir"]), None
    if options["dataset"] in ("swiss", "panx"):
        return SWISS if options["dataset"] == "swiss" else PANX
    hub = hub_name(options["dataset"])
    return hub or base_name(options["dataset"]), hub


def base_model(options: dict) -> str | None:
    return BUILTIN_BASE if options["model"] == BUILTIN else hub_name(options["model"])


def metadata(results: dict, scores: dict[str, dict]) -> str:
    """The card's YAML block: one F1 per language; language codes only where they are ISO 639; no licence."""
    options = results["options"]
    source, hub = data_source(options)
    evaluations = [
        EvalResult(task_type="token-classification", task_name="Named-entity recognition", dataset_type=hub or source,
                   dataset_name=f"{source} ({lang})", dataset_config=f"PAN-X.{lang}" if hub == PANX[1] else lang,
                   dataset_split="test", dataset_revision=options.get("revision") if hub else None, metric_type="f1",
                   metric_name="micro F1 (seqeval, default mode)", metric_value=float(score["f1"]))
        for lang, score in scores.items()]
    langs = [lang for lang in dict.fromkeys([*results["train"]["langs"], *scores]) if re.fullmatch("[a-z]{2,3}", lang)]
    return ModelCardData(
        language=langs, library_name="transformers", pipeline_tag="token-classification", metrics=["f1"],
        tags=["named-entity-recognition", "ner"], base_model=base_model(options), datasets=[hub] if hub else None,
        model_name=base_name(results["name"]), eval_results=evaluations, widget=widget(scores)).to_yaml()


def widget(langs: Iterable[str]) -> list[dict] | None:
    """What the Hub offers to try, one hand-written sentence per language, split into words as the model expects."""
    return [{"text": " ".join(generate.sentences(lang, "validation")[0][0]), "example_title": lang}
            for lang in written(langs)] or None


def written(langs: Iterable[str]) -> list[str]:
    """Those of which the built-in corpus has sentences."""
    return [lang for lang in langs if lang in generate.LANGS]


def score_table(scores: dict[str, dict], mean: float, trained: list[str], pseudo_langs: list[str]) -> str:
    """A Markdown table, one row per language; with a column of intervals if there are any. With a teacher, nothing is
    called zero-shot: nobody knows here what it was trained on."""
    notes = {lang: " (zero-shot)" for lang in scores if lang not in trained and not pseudo_langs}
    notes |= dict.fromkeys(pseudo_langs, " (with target text)")
    lines = [["language", "F1", "95 % interval", "precision", "recall", "strict F1", "sentences"]]
    for lang, score in scores.items():
        cells = [f"{score[key]:.3f}" for key in ("f1", "precision", "recall", "f1_strict")]
        cells.insert(1, " to ".join(f"{bound:.3f}" for bound in score.get("f1_ci95") or ()))
        lines.append([lang + notes.get(lang, ""), *cells, f"{score['sentences']:,}"])
    lines.append(["mean", f"{mean:.3f}", *[""] * 5])
    if not any(score.get("f1_ci95") for score in scores.values()):
        lines = [line[:2] + line[3:] for line in lines]
    return tabulate(lines[1:], lines[0], "pipe", disable_numparse=True,
                    colalign=["left", *["right"] * (len(lines[0]) - 1)])


def target_text(pseudo: dict) -> str:
    """The sentences about unlabelled text that was trained on (`train.pseudo` of results.json)."""
    teacher = hub_name(pseudo["teacher"]) or base_name(pseudo["teacher"])
    parts = [f"{lang} {one['sentences']:,} of {one['tagged']:,} sentences with {one['words']:,} words, "
             f"{one['masked'] / one['words']:.1%} of them masked" for lang, one in pseudo["languages"].items()]
    return (f"Unlabelled text of {', '.join(pseudo['languages'])} was used as well, so the model is not zero-shot "
            f"there: another model, `{teacher}`, tagged these training sentences, and its tags were learned instead of "
            f"their own ({'; '.join(parts)}).")


def label_table(options: dict, scores: dict[str, dict]) -> str:
    """A Markdown table of entity types with their number in the test sentences and, for the built-in corpus, examples
    from its hand-written validation sentences."""
    header = ["type", "entities in the test sentences"]
    counts = Counter[str]()
    for score in scores.values():
        counts.update({kind: of_type["support"] for kind, of_type in score["by_type"].items()})
    rows = [[escape(kind).replace("|", "&#124;"), f"{count:,}"] for kind, count in counts.items()]
    if data_source(options) == SWISS:
        header.append("examples")
        for kind, row in zip(counts, rows, strict=True):
            row.append(", ".join(escape(name) for lang in written(scores) for name in examples(lang, kind)))
    return tabulate(rows, header, "pipe", disable_numparse=True, colalign=["left", "right", "left"][: len(header)])


def examples(lang: str, kind: str) -> list[str]:
    """The first entities of a type among the hand-written validation sentences of the built-in corpus."""
    found = (" ".join(words[first:end]) for words, tags in generate.sentences(lang, "validation")
             for first, end, entity_type in spans(tags) if entity_type == kind)
    return list(dict.fromkeys(found))[:EXAMPLES]


def epoch_table(train: dict) -> str:
    """A Markdown table: losses per word in nats, and the mean F1, by epoch; the selected one is marked."""
    rows = []
    for one in train["epochs"]:
        losses = [score["loss"] for score in one["validation"].values()]
        mark = " (selected)" if one["epoch"] == train["selected_epoch"] else ""
        rows.append([f"{one['epoch']}{mark}", f"{one['train_loss']:.4f}", f"{sum(losses) / len(losses):.4f}",
                     f"{one['mean_f1']:.3f}"])
    return tabulate(rows, ["epoch", "training loss", "validation loss", "mean validation F1"], "pipe",
                    disable_numparse=True, colalign=["left", "right", "right", "right"])


def cost(results: dict) -> str:
    """Time, hardware and memory, which were measured, and that nothing else was."""
    train, hardware = results["train"], machine.described(results["machine"])
    return (f"{train['steps']:,} steps in {train['seconds'] / 60:.1f} minutes of training "
            f"({train['sentences_per_second']:,.0f} sentences and {train['tokens_per_second']:,.0f} subwords per "
            f"second, at most {train['peak_memory_mib']:,.0f} MiB of memory) on {hardware}.\n\n"
            "Energy and emissions were not measured; an estimate can start from this time and hardware.")


def bibtex(citation: str) -> str:
    """A BibTeX entry of a CITATION.cff: title, authors, and version, date and address where it has them."""
    content = yaml.safe_load(citation)
    authors = [author.get("name") or ", ".join(author[key] for key in ("family-names", "given-names") if key in author)
               for author in content["authors"]]
    fields = {"title": content["title"],
              "author": " and ".join(f"{{{name}}}" if ", " not in name else name for name in authors),
              "version": content.get("version"), "date": content.get("date-released"),
              "url": content.get("repository-code")}
    key = "-".join(re.findall(r"[a-z0-9]+", content["title"].lower()))
    lines = [f"  {name} = {{{value}}},\n" for name, value in fields.items() if value]
    return f"@software{{{key},\n{''.join(lines)}}}"


def limits(options: dict, scores: dict[str, dict]) -> str:
    """A Markdown list of what the scores do not show."""
    source, hub = data_source(options)
    types = dict.fromkeys(kind for score in scores.values() for kind in score["by_type"])
    lines = [f"It only finds entities of the types {', '.join(map(escape, types))}."] if types else []
    if PANX_NAME.search(hub or source):
        lines.append("The annotation is a silver standard, in training and test data: a program made it from "
                     "Wikipedia's links. The scores measure agreement with it, including its errors.")
    if (source, hub) == SWISS:
        lines.append("The training sentences were generated from patterns; the few test sentences are hand-written.")
    lines.append("The scores are for these test sentences only; expect others on other text and languages.")
    return "\n".join(f"- {line}" for line in lines)


def model_card(results: dict) -> str:
    """The README.md of a model folder, made from `results.json`: YAML metadata for the Hub, then text."""
    options, train, test = results["options"], results["train"], results["eval"]["test"]
    scores = {lang: score for lang, score in test.items() if isinstance(score, dict)}
    (source, hub), base = data_source(options), base_model(options)
    data = f"[{source}](https://huggingface.co/datasets/{hub})" if hub else f"`{source}`"
    encoder = f"[{base}](https://huggingface.co/{base})" if base else f"`{base_name(options['model'])}` (a folder)"
    encoder += ", decoded from 4-bit weights," if options["model"] == BUILTIN else ""
    pseudo, average = train.get("pseudo"), train.get("average", {})
    amount = f"{train['sentences']:,} sentences ({', '.join([*train['langs'], *(pseudo or {}).get('languages', [])])}) "
    amount += f"of {data}."
    if options.get("fractions"):
        shares = ", ".join(f"{lang} {share:.1%}" for lang, share in options["fractions"].items())
        amount += f" Share of each split used: {shares}; other languages: all."
    if pseudo:
        amount += f"\n\n{target_text(pseudo)}"
    recipe = {name: value for name, value in with_role(options, "in_card").items() if value not in (None, {})}
    versions = results["versions"] | {name: results["machine"].get(name) for name in ("cuda", "cudnn")}
    return "\n\n".join([
        f"---\n{metadata(results, scores)}\n---", f"# {base_name(results['name'])}",
        f"Named-entity recognition: {encoder} fine-tuned on {data}.",
        "## Scores on the test sentences",
        score_table(scores, test["mean_f1"], train["langs"], options.get("pseudo_langs") or []),
        "F1, precision and recall are micro averages (seqeval, default mode); strict F1 uses its strict mode (IOB2).",
        *([LEGAL] if options.get("decode") == "viterbi" else []),
        "## Labels", "Tags are IOB2: `B-` and `I-` of each type, and `O`.", label_table(options, scores),
        "## Training data", amount, "## Training", epoch_table(train), cost(results),
        "## Recipe", f"```yaml\n{yaml_dump(recipe, sort_keys=False)}```",
        *([f"The weights are the mean of {len(average['updates'])} snapshots of the run."]
          if average.get("kept") else []),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "## Use", USE.replace("MODEL", options.get("push_to_hub") or "MODEL"), "## Limits", limits(options, scores),
        "## Citation", "Of the code that trained this model:",
        f"```bibtex\n{bibtex(CITATION.read_text(encoding='utf-8'))}\n```",
    ]) + "\n"
