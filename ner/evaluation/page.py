"""The HTML page of the error analysis: one file without scripts that loads nothing, for a phone and for paper.

All text of the data is escaped, and a content security policy forbids the page every request, so that a sentence cannot
do anything whatever it says. Trade-off: without scripts nothing can be sorted or filtered here; that is what the TSV
files are for.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from ner.tags import TagSet

HUES = (212, 28, 140, 330, 265, 185, 52, 0)  # degrees; more types go round again, a little further
SHOWN_LOSS = 0.6931  # nats: the gold tag was less likely than all others together
STYLE = """
:root{color-scheme:light dark;--ink:#1b1b1b;--paper:#fff;--soft:#666;--line:#ddd;--wrong:#b00020;
--l:87%;--s:85%;--e:38%;--cell:#2a6fbb}
@media(prefers-color-scheme:dark){
:root{--ink:#e8e8e8;--paper:#161616;--soft:#a0a0a0;--line:#3a3a3a;--wrong:#ff7b8a;
--l:25%;--s:50%;--e:68%;--cell:#5a9fe8}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:75rem;color:var(--ink);background:var(--paper);\
font:16px/1.5 system-ui,sans-serif;
overflow-wrap:anywhere;-webkit-text-size-adjust:100%}
h1{font-size:1.5rem;line-height:1.25;margin:.25rem 0 .75rem}
h2{font-size:1.25rem;margin:2.5rem 0 .5rem}h3{font-size:1rem;margin:0 0 .35rem}
p{margin:.5rem 0}.soft{color:var(--soft);font-size:.875rem}a{color:inherit}
.tables{display:flex;flex-wrap:wrap;gap:1.5rem 2.5rem;margin:1rem 0}.tables>div{max-width:100%;overflow-x:auto}
table{border-collapse:collapse;font-size:.8125rem;font-variant-numeric:tabular-nums;overflow-wrap:normal}
th,td{padding:.15rem .4rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th{font-weight:600}th:first-child{text-align:left}
.matrix td{background:color-mix(in srgb,var(--cell) var(--share),transparent)}
.matrix td.right{outline:1px solid var(--soft);outline-offset:-1px}
ol{list-style:none;margin:0;padding:0}li{border-top:1px solid var(--line);padding:.7rem 0}
.row{display:grid;grid-template-columns:5.2rem 1fr;gap:.1rem .5rem;line-height:1.9}
.row>:first-child{color:var(--soft);font-size:.8125rem;line-height:2.34}
td.zero{color:var(--soft)}
@media(max-width:36rem){body{padding:.75rem}table{font-size:.7rem}th,td{padding:.2rem .22rem}
.row{grid-template-columns:1fr;margin-top:.3rem}.row>:first-child{line-height:1.4}}
mark{color:inherit;background:hsl(var(--h) var(--s) var(--l));border-bottom:2px solid hsl(var(--h) 70% var(--e));
border-radius:.2rem;padding:.1rem .25rem;-webkit-box-decoration-break:clone;box-decoration-break:clone}
mark small{font-size:.65rem;font-weight:700;letter-spacing:.03em;margin-left:.3rem}
.wrong{text-decoration:underline wavy var(--wrong) 1px;text-underline-offset:.25em}
sub{color:var(--wrong);font-size:.7rem;vertical-align:baseline;position:relative;top:.25em;margin-left:.1rem}
"""


class Part(NamedTuple):
    """What the page says of one language."""

    lang: str
    tables: list[tuple[Sequence[str], list[tuple]]]  # header and rows
    confusion: np.ndarray  # (K, K) words
    sentences: list  # `errors.Sentence`, in the order of the page
    found: int  # sentences that there would have been


def render(title: str, parts: list[Part], tags: TagSet, contains: str | None) -> str:
    """The whole page."""
    number = {name: i for i, name in enumerate(tags.types)}
    hues = "".join(f".t{i}{{--h:{HUES[i % len(HUES)] + 20 * (i // len(HUES))}}}" for i in number.values())
    links = " · ".join(f'<a href="#l{i}">{escape(part.lang)}</a>' for i, part in enumerate(parts))
    legend = " ".join(f'<mark class="t{i}">{escape(name)}</mark>' for name, i in number.items())
    body = "".join(language(f"l{i}", part, tags, number, contains) for i, part in enumerate(parts))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{escape(title)}</title><style>{STYLE}{hues}</style></head><body>
<h1>{escape(title)}</h1>
<p>{links}</p>
<p>{legend} <span class="wrong">word with a wrong tag</span><sub>4.2</sub></p>
<p class="soft">The small number is the loss of the gold tag in nats, shown from {SHOWN_LOSS:.2f} on \
(the model gave the gold tag
less than one half). Sentences stand by summed loss, highest first. Kinds of error: \
type = right words, wrong type; boundary =
right type, words partly right; both = neither quite right; \
missed and spurious = no entity is left to match it with.</p>
{body}</body></html>
"""


def language(anchor: str, part: Part, tags: TagSet, number: dict[str, int], contains: str | None) -> str:
    tables = "".join(f"<div>{table(header, rows)}</div>" for header, rows in part.tables)
    which = "" if contains is None else f" with “{escape(contains)}”"
    items = "".join(sentence(one, number) for one in part.sentences)
    return (f'<h2 id="{anchor}">{escape(part.lang)}</h2><div class="tables"><div>{matrix(part.confusion, tags)}'
            f'<div class="soft">words: rows gold, columns predicted</div></div>{tables}</div>'
            f"<h3>Sentences{which}, highest loss first ({len(part.sentences):,} of {part.found:,})</h3>"
            f"<ol>{items}</ol>")


def table(header: Sequence[str], rows: list[tuple]) -> str:
    """The first column names the row."""
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in header)
    body = "".join(f"<tr><th>{escape(row[0])}</th>{''.join(map(number_cell, row[1:]))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def number_cell(value: int | float) -> str:
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
    return f"<td{' class=zero' * (not value)}>{text}</td>"


def matrix(confusion: np.ndarray, tags: TagSet) -> str:
    """Words by gold (rows) and predicted tag (columns); the deeper the colour, the greater the share of the row."""
    head = "".join(f"<th>{escape(name)}</th>" for name in tags.names)
    rows = []
    for i, (name, counts) in enumerate(zip(tags.names, confusion.tolist())):
        total = max(sum(counts), 1)
        cells = "".join(f'<td class="{"right" * (i == j)} {"zero" * (not count)}" '
                        f'style="--share:{60 * count / total:.0f}%">{count:,}</td>' for j, count in enumerate(counts))
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return f'<table class="matrix"><tr><th></th>{head}</tr>{"".join(rows)}</table>'


def sentence(one, number: dict[str, int]) -> str:
    wrong = [a != b for a, b in zip(one.gold, one.predicted)]
    notes = [loss if loss >= SHOWN_LOSS else None for loss in one.loss]
    total, nothing = sum(one.loss), [None] * len(wrong)
    return (f'<li><div class="soft">row {one.row} · loss {total:.2f} · {total / len(one.words):.2f} a word</div>'
            f'<div class="row"><span>gold</span><span dir="auto">'
            f"{marked(one.words, one.gold, [False] * len(wrong), nothing, number)}</span></div>"
            f'<div class="row"><span>predicted</span><span dir="auto">'
            f"{marked(one.words, one.predicted, wrong, notes, number)}</span></div></li>")


def marked(words: list[str], tags: list[str], wrong: list[bool], notes: list[float | None],
           number: dict[str, int]) -> str:
    """The sentence with its entities in the colour of their type (an I-X that continues no X opens an entity)."""
    result, before = [], "O"
    for word, tag, bad, note in zip(words, tags, wrong, notes):
        text = escape(word)
        text = f'<span class="wrong">{text}</span>' if bad else text
        text += "" if note is None else f"<sub>{note:.1f}</sub>"
        continues = tag.startswith("I-") and before[2:] == tag[2:]
        if before != "O" and not continues:
            result[-1] += closing(before)
        opening = "" if tag == "O" or continues else f'<mark class="t{number[tag[2:]]}">'
        result.append(opening + text)
        before = tag
    return " ".join(result) + (closing(before) if before != "O" else "")


def closing(tag: str) -> str:
    return f"<small>{escape(tag[2:])}</small></mark>"
