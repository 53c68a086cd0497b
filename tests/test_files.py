"""Files are complete or absent, whatever happens while they are written."""

import hashlib
import os
import signal
import stat
from pathlib import Path

import pytest

from ner import files
from tests.helpers import doubles, runs

OLD, NEW = "a: 1\n" * 1000, "a: 2\n" * 1000


def write_and_die(path: str, name: str) -> None:
    doubles.die_in(name)
    files.write_whole(Path(path), NEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["os.fsync", "os.replace"])
@pytest.mark.parametrize("before", [None, OLD])
def test_a_kill_leaves_the_old_file_or_none(tmp_path, before, name):
    path = tmp_path / "results.json"
    if before:
        path.write_text(before)
    process = runs.forked(write_and_die, str(path), name)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert (path.read_text() if before else path.exists()) == (before or False)
    files.write_whole(path, NEW)
    assert path.read_text() == NEW and [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_disk_that_is_full_leaves_the_old_file(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    path = tmp_path / "config.yaml"
    path.write_text(OLD)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_whole(path, NEW)
    assert path.read_text() == OLD


def test_the_new_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, done = tmp_path / "config.yaml", []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(synced(os.fstat(handle))) or fsync(handle))
    monkeypatch.setattr(os, "replace", lambda *names: done.append("renamed") or replace(*names))
    files.write_whole(path, NEW)
    assert done == [len(NEW), "renamed", "folder"] and path.read_text() == NEW


def test_writers_of_the_same_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "summary.json"
    with files.whole_file(path, writer=1) as first:
        first.write_text(OLD)
        files.write_whole(path, NEW, writer=11)
        assert path.read_text() == NEW
    assert path.read_text() == OLD and [one.name for one in tmp_path.iterdir()] == [path.name]


def synced(status: os.stat_result):
    return "folder" if stat.S_ISDIR(status.st_mode) else status.st_size


def test_checksum_of_ends(tmp_path):
    """The first and the last bytes count, those between them do not; short files count whole."""
    def of(content):
        (tmp_path / "file").write_bytes(content)
        return files.checksum_of_ends(tmp_path / "file", size=3)

    assert of(b"abc--xyz") == of(b"abc++xyz") == hashlib.sha256(b"abcxyz").hexdigest()
    assert len({of(content) for content in (b"abc--xyz", b"abd--xyz", b"abc--xyy", b"ab", b"a", b"")}) == 6
