"""Everything that goes to TensorBoard: small functions on a SummaryWriter, one folder per run.

Languages differ by tag (`f1/de`, `f1/fr`), and a stored layout has charts of them. `add_scalars` and
`add_hparams` would create a run folder for every key, which clutters the list of runs, so options are logged as text.

Names of languages and types come from data. Characters that would split or garble a tag are percent-encoded
(`zh/tw` -> `f1/zh%2Ftw`), so that different names remain different tags.
"""

import html
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tabulate import tabulate
from torch.utils.tensorboard import SummaryWriter

FLUSH_SECONDS = 10
MOST_TAGS_WITH_NUMBERS = 40  # more would need a picture of over 3,000 pixels per side


def open_board(folder: Path, purge_step: int | None = None) -> SummaryWriter:
    """A writer to `folder`. A resumed run passes its first step as `purge_step`: old events from there on are dropped.

    Events reach the disk every 10 s. Call `flush` before a checkpoint, or a killed run leaves a gap in its curves.
    """
    if purge_step is not None:
        time.sleep(1)  # event files are read in order of name, and names have whole seconds
    # A new run marks its start, too: TensorBoard's Python loader treats only the second mark as a restart.
    return SummaryWriter(str(folder), purge_step=purge_step or 0, flush_secs=FLUSH_SECONDS)


def log_options(writer: SummaryWriter, options: Mapping, langs: Sequence[str]) -> None:
    """The options as text, and the layout of the tab "Custom Scalars"."""
    log_report(writer, 0, "options", yaml.safe_dump(dict(options), sort_keys=False, allow_unicode=True))
    writer.add_custom_scalars(layout([tag_part(lang) for lang in langs]))


def layout(parts: Sequence[str]) -> dict[str, dict[str, list]]:
    """Category -> chart -> what is in it. To compare runs, a chart for each language with a line for each run; then,
    for one run at a time, charts with all languages. `parts`: the names of the languages in tags."""

    def chart(*tags: str) -> list:
        return ["Multiline", [re.escape(tag) + "$" for tag in tags]]

    f1 = {part: chart(f"f1/{part}") for part in parts}
    loss = {part: chart(f"loss/{part}") for part in parts}
    return {"F1 on validation": {"mean": chart("f1/mean")} | f1,
            "loss in nats per word": {"training": chart("train/loss")} | loss,
            "all languages": {"F1 on validation": chart(*(f"f1/{part}" for part in parts)),
                              "loss on validation": chart(*(f"loss/{part}" for part in parts))}}


def log_report(writer: SummaryWriter, step: int, tag: str, text: str) -> None:
    """Preformatted text, such as `classification_report`; TensorBoard lists it as `tag`/text_summary."""
    text = html.escape(text, quote=False).encode("utf-8", "backslashreplace").decode()
    writer.add_text(tag, f"<pre>\n{text}\n</pre>", step)


def log_step(writer: SummaryWriter, step: int, loss: float, learning_rate: float, grad_norm: float,
             sentences_per_second: float) -> None:
    """One optimizer step: loss in nats per labelled word, gradient norm before clipping."""
    writer.add_scalar("train/loss", loss, step)
    writer.add_scalar("train/learning_rate", learning_rate, step)
    writer.add_scalar("train/grad_norm", grad_norm, step)
    writer.add_scalar("train/sentences_per_second", sentences_per_second, step)


def log_validation(writer: SummaryWriter, step: int, scores: Mapping[str, Mapping], mean_f1: float) -> None:
    """`scores`: language -> its metrics in results.json. A type that is neither in gold nor predicted gets no point."""
    for lang, score in scores.items():
        for key in ("f1", "precision", "recall", "loss"):
            writer.add_scalar(f"{key}/{tag_part(lang)}", score[key], step)
        for entity_type, of_type in score["by_type"].items():
            writer.add_scalar(f"f1_{tag_part(entity_type)}/{tag_part(lang)}", of_type["f1"], step)
    writer.add_scalar("f1/mean", mean_f1, step)


def log_f1(writer: SummaryWriter, step: int, tag: str, scores: Mapping[str, Mapping], mean_f1: float) -> None:
    """F1 of each language and their mean, as `tag`/LANG; `scores` as in `log_validation`."""
    for lang, score in scores.items():
        writer.add_scalar(f"{tag}/{tag_part(lang)}", score["f1"], step)
    writer.add_scalar(f"{tag}/mean", mean_f1, step)


def log_summary(writer: SummaryWriter, text: str, images: Mapping[str, np.ndarray]) -> None:
    """A report on several runs: `text` in Markdown, `images` (height, width, 3) uint8 by name."""
    writer.add_text("report", text, 0)
    for name, image in images.items():
        writer.add_image(f"report/{tag_part(name)}", image, 0, dataformats="HWC")


def log_confusion(writer: SummaryWriter, step: int, lang: str, split: str, matrix: np.ndarray,
                  names: Sequence[str]) -> None:
    """`matrix` (K, K) words by tag, rows gold, columns predicted, in the order of `names`, as an image."""
    image = confusion_image(matrix, names, f"{lang}, {split}, step {step:,}: {matrix.sum():,} words")
    writer.add_image(f"confusion_{split}/{tag_part(lang)}", image, step, dataformats="HWC")


def confusion_image(matrix: np.ndarray, names: Sequence[str], title: str) -> np.ndarray:
    """(height, width, 3) uint8. Colour and upper number: share of the row; lower number: words; zeros are grey.

    With more than 40 tags, the cells are smaller and show only their colour.
    """
    K, names = len(names), [name if len(name) <= 30 else f"{name[:29]}…" for name in names]
    if matrix.shape != (K, K):
        raise ValueError(f"confusion matrix of shape {matrix.shape} for {K} tags: expected ({K}, {K})")
    share = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    numbers = K <= MOST_TAGS_WITH_NUMBERS
    longest = max(map(len, names))
    upright = longest > 7 or not numbers
    side, label = max(3.6, (0.72 if numbers else 0.2) * K), 0.09 * longest  # inches
    figure = Figure((side + label + 1.6, side + (label if upright else 0.1) + 0.8), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    picture = axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    figure.colorbar(picture, ax=axes, label="share of the gold tag's words (%)", fraction=0.03, aspect=30, pad=0.02)
    axes.set_title(title, parse_math=False)
    axes.set_xlabel("predicted tag" + " (above: % of the row, below: words)" * numbers)
    axes.set_ylabel("gold tag")
    axes.set_xticks(range(K), labels=names, rotation=90 * upright, parse_math=False)
    axes.set_yticks(range(K), labels=names, parse_math=False)
    axes.set_xticks(np.arange(K + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(K + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="lightgrey", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    for (row, column), words in np.ndenumerate(matrix if numbers else matrix[:0]):
        text = f"{share[row, column]:.1f} %\n{words:,}" if words else "0"
        colour = "white" if share[row, column] > 60 else "black" if words else "darkgrey"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour).set_in_layout(False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def classification_report(scores: Mapping) -> str:
    """Plain-text table of one language's metrics: precision, recall, F1 and gold entities, by type and on average."""
    averages = {"micro": scores, "macro": scores["macro"], "weighted": scores["weighted"]}
    rows = [(name, row, row["support"]) for name, row in scores["by_type"].items()]
    rows += [(f"{name} average", row, scores["entities"]) for name, row in averages.items()]
    lines = [[name, *(f"{row[key]:.4f}" for key in ("precision", "recall", "f1")), f"{support:,}"]
             for name, row, support in rows]
    return tabulate(lines, ["", "precision", "recall", "f1", "support"], "plain", disable_numparse=True,
                    colalign=["left", *["right"] * 4])


def tag_part(name: str) -> str:
    """`name` as one part of a tag: slashes, percent signs and unprintable characters are percent-encoded."""
    if name == "mean":
        return "%6Dean"  # `f1/mean` is the mean over languages
    return "".join(c if c.isprintable() and c not in "/%" else quote(c, safe="", errors="surrogatepass") for c in name)
