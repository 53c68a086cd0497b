"""The example records in the documentation of formats are read as it says."""

import json
import re
from pathlib import Path

from tests.helpers.paths import ROOT
from tests.helpers.reading import read

RECORD = re.compile(r"`([\[{][^`]*Anna[^`]*)`")


def test_every_record_of_the_documentation_is_read(tmp_path):
    pages = [path.read_text(encoding="utf-8") for path in sorted(Path(ROOT / "docs").glob("data*.md"))]
    records = [record for page in pages for record in RECORD.findall(page) if "..." not in record]
    (tmp_path / "labels.txt").write_text("O\nB-PER\n")
    assert len(records) >= 10
    for record in records:
        found = read(tmp_path, json.dumps(json.loads(record)), "train.json" if record[0] == "[" else "train.jsonl")
        assert [(one.tokens, one.tags) for one in found] == [(["Anna", "ruft"], ["B-PER", "O"])], record
