"""What the environment asks for, and what is made of it."""

from ner.training import machine


def test_no_micro_batches_but_our_own(monkeypatch):
    """Accelerate would divide every loss by this number."""
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    assert machine.accelerator("no").gradient_accumulation_steps == 1
