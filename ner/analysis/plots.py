"""The plots of a report, made for print: 7 inches wide, units on every axis, one colour and one marker per language.

Each is written twice: as PNG, which every viewer shows, and as SVG, which is sharp at any size. The same results give
the same files. The colours are Okabe and Ito's (Color Universal Design, 2008), which colour-blind readers can tell
apart; markers do so in black and white. F1 is always in points (100 = perfect).
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.lines import Line2D

COLOURS = {"de": "#0072B2", "fr": "#D55E00", "it": "#009E73", "en": "#CC79A7"}
OTHER_COLOURS = ("#E69F00", "#56B4E9", "#8C510A", "#555555")
MARKERS = {"de": "o", "fr": "s", "it": "^", "en": "D"}
OTHER_MARKERS = "vPX<>*h"
WIDTH, DPI = 7.0, 200  # inches, dots per inch
PANELS = 3  # side by side
Line = tuple[Sequence[float], Sequence[float]]  # x, y
Estimate = tuple[float, float, float]  # F1 and its 95 % interval


def styles(langs: Sequence[str], names: Sequence[str]) -> dict[str, dict]:
    """How each of `names` is drawn: fixed for de, fr, it and en; others by position in the report's `langs`, so that a
    language has the same colour throughout."""
    others = [lang for lang in dict.fromkeys([*langs, *names]) if lang not in COLOURS]
    colours = COLOURS | {lang: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, lang in enumerate(others)}
    markers = MARKERS | {lang: OTHER_MARKERS[i % len(OTHER_MARKERS)] for i, lang in enumerate(others)}
    return {lang: {"color": colours[lang], "marker": markers[lang], "markersize": 4, "linewidth": 1.2}
            for lang in names}


def plain(axes: Axes) -> None:
    """No box, a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def rounded(sentences: float) -> str:
    """An interpolated number, rounded to its accuracy."""
    return f"{round(sentences, -1 if sentences < 1000 else -2):,.0f}"


def heat_map(tables: Mapping[str, Mapping[str, Mapping[str, Sequence[float] | None]]], langs: Sequence[str]) -> Figure:
    """Tables side by side on one scale: title -> row -> language -> F1, with or without interval, or None."""
    rows = max(len(table) for table in tables.values())
    figure = Figure((WIDTH, 1.3 + 0.52 * rows), dpi=DPI, layout="constrained")
    places = figure.subplots(1, len(tables), squeeze=False)[0]
    known = [cell[0] for table in tables.values() for row in table.values() for cell in row.values() if cell]
    low = 10 * math.floor(10 * min(known, default=0))
    for number, (axes, (title, table)) in enumerate(zip(places, tables.items(), strict=True)):
        values = np.array([[100 * cell[0] if (cell := row.get(lang)) else np.nan for lang in langs]
                           for row in table.values()])
        picture = axes.imshow(values, cmap="Blues", vmin=low, vmax=100, aspect="auto")
        axes.set_title(title, fontsize=9, parse_math=False)
        axes.set_xlabel("evaluated on", fontsize=9)
        if number == 0:
            axes.set_ylabel("fine-tuned on", fontsize=9)
        axes.set_xticks(range(len(langs)), labels=langs, fontsize=8)
        axes.set_yticks(range(len(table)), labels=list(table), fontsize=8, parse_math=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for y, row in enumerate(table.values()):
            for x, lang in enumerate(langs):
                cell = row.get(lang)
                dark = cell and 100 * cell[0] > low + 0.62 * (100 - low)
                text = "–" if not cell else f"{100 * cell[0]:.1f}"
                if cell and len(cell) == 3:
                    text += f"\n{100 * cell[1]:.1f}–{100 * cell[2]:.1f}"
                axes.text(x, y, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
    bar = figure.colorbar(picture, ax=places, label="test F1 (points)", fraction=0.025, pad=0.02, aspect=18)
    bar.ax.tick_params(labelsize=8)
    return figure


def learning_curve(langs: Sequence[str], lang: str, points: Sequence[tuple[int, Estimate]],
                   zero_shot: tuple[str, Estimate] | None, published: Mapping[int, float],
                   crossing: float | None) -> Figure:
    """Test F1 by number of labelled sentences on a logarithmic axis, with 95 % intervals; the published curve is
    validation F1. `zero_shot`: name and F1 of a run trained without `lang`."""
    figure = Figure((WIDTH, 3.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    plain(axes)
    style = styles(langs, [lang])[lang]
    sizes = [size for size, _ in points]
    f1, low, high = 100 * np.array([estimate for _, estimate in points]).T
    if published:
        axes.plot(list(published), [100 * value for value in published.values()], color="0.6", linestyle=":",
                  marker="x", markersize=4, linewidth=1, label="published, XLM-R-base, validation F1")
    axes.errorbar(sizes, f1, [f1 - low, high - f1], capsize=2, elinewidth=0.8,
                  label=f"trained on {lang}, test F1 (95 %)", **style)
    if zero_shot:
        name, (value, bottom, top) = zero_shot
        colour = styles(langs, [name])[name]["color"]
        axes.axhline(100 * value, color=colour, linestyle="--", linewidth=1.2,
                     label=f"zero-shot from {name}, test F1 (95 %)")
        axes.axhspan(100 * bottom, 100 * top, color=colour, alpha=0.15, linewidth=0)
        if crossing:
            axes.axvline(crossing, color="0.3", linewidth=0.8)
            axes.annotate(f"about {rounded(crossing)} sentences", (crossing, 99), xytext=(4, 0),
                          textcoords="offset points", va="top", fontsize=8)
    axes.set_xscale("log")
    ticks = sorted({*sizes, *published})
    shown = [tick for tick, after in pairwise([*ticks, math.inf]) if after > 1.25 * tick or tick == ticks[0]]
    axes.set_xticks(shown, labels=[f"{tick:,}" for tick in shown])
    axes.minorticks_off()
    axes.set_ylim(0, 100)
    axes.set_xlabel(f"labelled sentences ({lang}, logarithmic)", fontsize=9)
    axes.set_ylabel("micro F1 (points)", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    return figure


def by_language(langs: Sequence[str], runs: Mapping[str, Mapping[str, Estimate | None]],
                published: Mapping[str, Mapping[str, float]]) -> Figure:
    """Test F1 with 95 % intervals, a row per language, best first by the first run that has results; published F1 as
    crosses."""
    first = next((of_run for of_run in runs.values() if any(of_run.values())), {})
    order = sorted(langs, key=lambda lang: (estimate := first.get(lang)) is not None and estimate[0])
    place = {lang: y for y, lang in enumerate(order)}
    figure = Figure((WIDTH, 1.2 + 0.2 * len(langs)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    plain(axes)
    for number, (name, of_run) in enumerate(runs.items()):
        known = {lang: estimate for lang, estimate in of_run.items() if estimate}
        if known:
            f1, low, high = 100 * np.array(list(known.values())).T
            axes.errorbar(f1, [place[lang] for lang in known], xerr=[f1 - low, high - f1], label=name, linestyle="none",
                          marker=(*MARKERS.values(), *OTHER_MARKERS)[number], markersize=4, elinewidth=0.8,
                          color=(*COLOURS.values(), *OTHER_COLOURS)[number])
    for name, of_languages in published.items():
        axes.plot([100 * value for value in of_languages.values()], [place[lang] for lang in of_languages], label=name,
                  color="black", linestyle="none", marker="x", markersize=5)
    axes.set_yticks(range(len(order)), labels=order, fontsize=8)
    axes.set_xlabel("test F1 (points)", fontsize=9)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure


def panels(langs: Sequence[str], lines: Mapping[str, Mapping[str, Line]], x: str, y: str, diagonal: bool = False,
           black: str = "") -> Figure:
    """One small chart per title, one line per language; `black`: a line that is not a language; `diagonal`: y = x."""
    columns = min(PANELS, len(lines))
    rows = math.ceil(len(lines) / columns)
    figure = Figure((max(3.2, WIDTH * columns / PANELS), 0.5 + 1.75 * rows), dpi=DPI, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    names = list(dict.fromkeys(name for panel in lines.values() for name in panel))
    style = styles(langs, names) | {black: {"color": "black", "linestyle": "--", "linewidth": 1.2}}
    for axes, (title, panel) in zip(grid, lines.items(), strict=False):  # the last row may have empty places
        plain(axes)
        axes.set_title(title, fontsize=8, parse_math=False)
        if diagonal:
            axes.plot([0, 1], [0, 1], color="0.5", linewidth=0.8)
        for name, (xs, ys) in panel.items():
            axes.plot(xs, ys, **style[name])
        if not diagonal:
            axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in grid[len(lines):]:
        axes.set_visible(False)
    for axes in grid[max(0, len(lines) - columns) : len(lines)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel(x, fontsize=9)
    figure.supylabel(y, fontsize=9)
    figure.legend(handles=[Line2D([], [], label=name, **style[name]) for name in names], loc="outside upper center",
                  ncols=len(names), fontsize=8, frameon=False)
    return figure


def save(figure: Figure, path: Path) -> np.ndarray:
    """Write a PNG and, next to it, an SVG; returns the image as (height, width, 3) uint8 for TensorBoard."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    imsave(path, image, dpi=DPI)
    with matplotlib.rc_context({"svg.hashsalt": "ner"}):  # without a salt, ids are random
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    return image
