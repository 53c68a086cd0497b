"""What leaves the machine: the model card (`model/README.md`) and the upload of `model/` to the Hub.

The card is generated from `results.json` alone, so that it always agrees with the metrics. Anything else is left out (a
licence above all), and of the user's paths it shows at most the last part.
"""

import re
import shlex
from html import escape
from pathlib import Path, PureWindowsPath

from huggingface_hub import EvalResult, HfApi, ModelCardData
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError
from huggingface_hub.utils import validate_repo_id, yaml_dump
from tabulate import tabulate

from ner.options import UserError, with_role
from ner.training import machine

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
        model_name=base_name(results["name"]), eval_results=evaluations).to_yaml()


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
        "## Training data", amount, "## Recipe", f"```yaml\n{yaml_dump(recipe, sort_keys=False)}```",
        *([f"The weights are the mean of {len(average['updates'])} snapshots of the run."]
          if average.get("kept") else []),
        f"{machine.described(results['machine'])}.",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items() if version),
        "## Use", USE.replace("MODEL", options.get("push_to_hub") or "MODEL"), "## Limits", limits(options, scores),
    ]) + "\n"


def check_repository_name(name: str) -> None:
    """Refuse a name that the Hub would refuse, before training rather than after it."""
    try:
        validate_repo_id(name if "/" in name else "")
    except HFValidationError:
        raise UserError(f"push_to_hub: {name!r} is not a repository; expected user/name (letters, digits, "
                        f"-_.)") from None


def reason(error: BaseException) -> str:
    """Why the Hub's client failed, on one line."""
    if isinstance(error, RuntimeError) and error.__cause__:  # how the client wraps a failed upload of a large file
        error = error.__cause__
    if isinstance(error, LocalTokenNotFoundError):
        return "no token found: log in with 'hf auth login' or set HF_TOKEN"
    if not isinstance(error, HfHubHTTPError):
        return " ".join(f"{type(error).__name__}: {error}".split())
    status, said = error.response.status_code, error.server_message or ""
    hint = "log in with 'hf auth login' and a token with write access" if status in (401, 403) else ""
    return " ".join(f"the Hub answered {status} {said} {hint}".split())


def push(folder: Path, repository: str, public: bool) -> str:
    """Upload a model folder to the Hub, private unless `public`; returns the URL. ``UserError`` if it fails."""
    check_repository_name(repository)
    again = shlex.join(["hf", "upload", repository, str(folder), ".", *([] if public else ["--private"])])
    try:
        api = HfApi(token=True)
        url = api.create_repo(repository, private=not public, exist_ok=True)
        private = api.repo_info(repository).private  # `create_repo` does not change an existing one
        if private != public:
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload a fine-tuned tagger")
            return str(url)
    except Exception as error:  # the client raises many kinds, all of which mean that the upload failed
        raise UserError(f"push_to_hub: {repository} was not uploaded ({reason(error)}); the model is safe in {folder}, "
                        f"try again with: {again}") from None
    found, flag = ("private", "without") if private else ("public", "with")
    raise UserError(f"push_to_hub: {repository} already exists and is {found}, so nothing was uploaded; the model is "
                    f"safe in {folder}, try again with another name or {flag} --public")
