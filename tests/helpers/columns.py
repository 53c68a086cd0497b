"""The same made-up sentences in the shapes in which public corpora come."""

WORDS = [["Ada", "Li", "rief", "Uni", "Ulm", "Nord", "an", "."], ["Bern", "1", "Li"]]
TAGS = [["B-PER", "I-PER", "O", "B-ORG", "I-ORG", "I-ORG", "O", "O"], ["B-LOC", "O", "B-PER"]]
SENTENCES = list(zip(WORDS, TAGS))
OTHER = {  # the same tags in other schemes
    "IOB1": "I-PER I-PER O I-ORG I-ORG I-ORG O O/I-LOC O I-PER",
    "BIOES": "B-PER E-PER O B-ORG I-ORG E-ORG O O/S-LOC O S-PER",
    "BILOU": "B-PER L-PER O B-ORG I-ORG L-ORG O O/U-LOC O U-PER",
    "BMES": "B-PER E-PER O B-ORG M-ORG E-ORG O O/S-LOC O S-PER",
    "IOE": "I-PER E-PER O I-ORG I-ORG E-ORG O O/E-LOC O E-PER",
    "IO": "PER PER O ORG ORG ORG O O/LOC O PER",
    "B_TYPE": "B_PER I_PER O B_ORG I_ORG I_ORG O O/B_LOC O B_PER",
    "BTYPE": "BPER IPER O BORG IORG IORG O O/BLOC O BPER",
    "TYPE_B": "PER_B PER_I O ORG_B ORG_I ORG_I O O/LOC_B O PER_B",
}


def table(row: str, before: str = "", between: str = "\n", head: str = "", tags=TAGS) -> str:
    """The sentences with a line per word.

    row: what a line is made of: word, tag, i (its number from 0 in the sentence), n (from 0 in the file), s (the
    sentence's number from 1), misc and first (for single lines). before: the lines that precede a sentence.
    """
    text, n = head, 0
    for s, (words, own) in enumerate(zip(WORDS, tags), start=1):
        text += before.format(s=s)
        for i, (word, tag) in enumerate(zip(words, own)):
            inner = "B-LOC" if word == "Ulm" else "O"
            chunk = {"rief": "B-VP", "an": "B-PP", ".": "O"}.get(word, "B-NP")
            end = "EndOfSentence" if i == len(words) - 1 else "_"
            text += row.format(word=word, tag=tag, i=i, i1=i + 1, n=n, n1=n + 1, s=s, inner=inner, chunk=chunk, end=end)
            text += "\n"
            n += 1
        text += between
    return text


def in_scheme(name: str) -> list[list[str]]:
    return [sentence.split() for sentence in OTHER[name].split("/")]


def converted(name: str) -> str:
    notice = f"the tags are {name} and were converted to IOB2"
    return notice + ("; neighbouring entities of one type cannot be told apart and are one" if name == "IO" else "")


LAYERS = "columns {} hold layers of tags; took the first; --tag_column {} takes another"
SPLIT = "no blank line in the file; its first column tells 2 sentences apart"
HIPE = "TOKEN\tNE-COARSE-LIT\tNE-COARSE-METO\tNE-NESTED\tNEL-LIT\tMISC\n# hipe2022:document_id = a\n"
UD = "{i1}\t{word}\tlemma\tNOUN\t_\t_\t0\tdep\t_\t"

SHAPES: dict[str, tuple[str, dict, str | None]] = {  # name -> text, options, notice
    "PAN-X": (table("de:{word}\t{tag}"), {}, None),
    "ids from 0": (table("{i}\t{word}\t{tag}"), {}, None),
    "ids from 1, spaces": (table("{i1} {word} NNP I-NP {tag}"), {}, None),
    "ids by file": (table("{n}\t{word}\t{tag}"), {}, None),
    "ids by file from 1, spaces": (table("{n1} {word} {tag}"), {}, None),
    "sentence names": (table("sent-{s} {word} NN {tag}"), {}, None),
    "sentence and word numbers": (table("{s}\t{i}\t{word}\t{tag}"), {}, None),
    "sentence names, no blank lines": (table("sent-{s}\t{word}\t{tag}", between=""), {}, SPLIT),
    "ids, no blank lines": (table("{i1}\t{word}\t{tag}", between=""), {}, SPLIT),
    "UNER": (table("{i1}\t{word}\t{tag}\t-\tme", before="# sent_id = {s}\n# text\n"), {}, None),
    "CoNLL-2003 with IOB2 chunks": (table("{word} NN {chunk} {tag}", head="-DOCSTART- -X- -X- O\n\n"), {}, None),
    "two layers": (table("{word} {tag} {inner}"), {}, LAYERS.format("2, 3", 3)),
    "GermEval": (table("{i1}\t{word}\t{tag}\t{inner}", before="#\thttp://a.example/{s} [2010-01-01]\n"), {},
                 LAYERS.format("3, 4", 4)),
    "HIPE-2022": (table("{word}\t{tag}\tO\t{inner}\t_\t{end}", between="", head=HIPE), {},
                  LAYERS.format("2 (NE-COARSE-LIT), 4 (NE-NESTED)", 4)),
    "CoNLL-U with name=": (table(UD + "name={tag}|SpaceAfter=No", before="# sent_id = {s}\n# text = Ada # Li\n"), {},
                           None),
    "CoNLL-U Plus": (table("{i1}\t{word}\tNOUN\t{tag}", head="# global.columns = ID FORM UPOS NE\n"), {}, None),
    "MultiCoNER": (table("{word} _ _ {tag}", before="# id 5a-{s}\tdomain=de\n"), {}, None),
    "KLUE": (table("{word}\t{tag}", before="## klue-{s}\tAda Li rief <Uni Ulm:OG> an.\n"), {}, None),
    "Europeana": (table("{word} {tag}", before="# file: a-{s}.xml\n"), {}, None),
    "neat": (table("{i1}\t{word}\t{tag}\tO\t-\t0,0", between="", head="No.\tTOKEN\tNE-TAG\tNE-EMB\tID\tbox\n"
                   "# https://a.example/1\n"), {}, SPLIT),
    "third column of many": (table("{word} B-X {tag} B-Y x", tags=TAGS), {"tag_column": "3"}, None),
    "columns by name": (table("{chunk},{word}\t{word}\t{tag}", head="a\tmot\tfin\n"),
                        {"token_column": "mot", "tag_column": "fin"}, None),
    "tags first": (table("{tag}\t{word}"), {}, None),
    **{name: (table("{word} {tag}", tags=in_scheme(name)), {}, converted(name))
       for name in ("IOB1", "BIOES", "BILOU", "BMES", "IOE", "IO")},
    **{name: (table("{word}\t{tag}", tags=in_scheme(name)), {"tag_scheme": name},
              f"the tags are spelled {name} and were converted to IOB2") for name in ("B_TYPE", "BTYPE", "TYPE_B")},
}
