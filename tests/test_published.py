"""What may not be published: no sentence of PAN-X is in a file of the repository."""

import re
import subprocess

import pytest

from tests.helpers.paths import ROOT

pytestmark = pytest.mark.slow
WORDS = 8  # in a row, with which a sentence is recognised; shorter ones, as names, are anybody's


def beginnings(path):
    """The first words of each sentence of a file in PAN-X's own format, without figures and punctuation."""
    for sentence in path.read_text(encoding="utf-8").split("\n\n"):
        tokens = " ".join(line.split("\t")[0].partition(":")[2] for line in sentence.split("\n"))
        if len(words := tuple(re.findall(r"[^\W\d_]+", tokens))[:WORDS]) == WORDS:
            yield words


def test_no_sentence_of_panx_is_in_the_repository(shared):
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ours = set()
    for name in filter(None, names.split("\0")):
        words = re.findall(r"[^\W\d_]+", (ROOT / name).read_bytes().decode(errors="ignore"))
        ours |= set(zip(*(words[i:] for i in range(WORDS))))
    theirs = {words for path in (shared / "panx").glob("*/*") for words in beginnings(path)}
    assert len(ours) > 100_000 and len(theirs) > 100_000 and not ours & theirs
