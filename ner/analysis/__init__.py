"""Finished runs -> understanding: errors, suspects, comparisons, reports."""
