"""Kinds of error: every gold entity and every predicted one of a sentence, matched."""

from collections.abc import Iterable, Sequence

from ner.tags import Span, spans

KINDS = ("correct", "type", "boundary", "both", "missed", "spurious")
KINDS_HEADER = ("entity", "gold", "predicted", *KINDS)


def pairs(gold: Sequence[Span], predicted: Sequence[Span]) -> list[tuple[str, Span | None, Span | None]]:
    """Every entity of a sentence once, with its kind and its partner, if it has one.

    Partners are matched one to one. First come entities with the same words (`correct`, or `type` if only the type
    differs); then, among the rest, entities that overlap (`boundary` if the type is right, else `both`), preferring the
    same type, then more common words, then the earlier one. Unmatched gold entities are `missed`, predicted `spurious`.
    """
    same = {one[:2]: one for one in predicted}
    result = [("correct" if one == same[one[:2]] else "type", one, same[one[:2]]) for one in gold if one[:2] in same]
    matched = {one[:2] for _, one, _ in result}
    rest = [one for one in gold if one[:2] not in matched]
    others = [one for one in predicted if one[:2] not in matched]
    shared = [(a[2] != b[2], -common, a, b) for a in rest for b in others
              if (common := min(a[1], b[1]) - max(a[0], b[0])) > 0]
    for differs, _, a, b in sorted(shared):
        if a in rest and b in others:
            rest.remove(a)
            others.remove(b)
            result.append(("both" if differs else "boundary", a, b))
    return result + [("missed", one, None) for one in rest] + [("spurious", None, one) for one in others]


def kind_table(tagged: Iterable[tuple[Sequence[str], Sequence[str]]], types: Sequence[str]) -> list[tuple]:
    """By type and in total: entities in gold, predicted, and of each of `KINDS`; `tagged`: gold and predicted tags.

    Entities count under their gold type, spurious ones and the column `predicted` under the predicted type.
    """
    count = {name: dict.fromkeys(("gold", "predicted", *KINDS), 0) for name in types}
    for gold, predicted in tagged:
        for kind, a, b in pairs(spans(gold), spans(predicted)):
            for column, one in ((kind, a or b), ("gold", a), ("predicted", b)):
                if one:
                    count[one[2]][column] += 1
    rows = [(name, *row.values()) for name, row in count.items()]
    return [*rows, ("all", *(sum(column) for column in zip(*(row[1:] for row in rows), strict=True)))]
