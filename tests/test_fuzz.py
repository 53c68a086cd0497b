"""Fifty cases of the fuzzer: see tests/proofs/fuzz.py."""

import pytest

from tests.proofs import fuzz

pytestmark = pytest.mark.slow


def test_fifty_broken_inputs_end_in_an_answer_or_a_sentence():
    """And each group of inputs knows both ends, or nothing would be tested."""
    found = fuzz.main(50, 0, 0)
    print(fuzz.table(found))
    assert found["all", "failed"] == 0
    assert all(found[group, end] for group in fuzz.GROUPS for end in ("answered", "refused"))
