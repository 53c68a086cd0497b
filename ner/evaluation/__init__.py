"""Weights -> metrics: what an epoch needs and no more."""
