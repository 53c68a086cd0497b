"""Logits -> weights."""
