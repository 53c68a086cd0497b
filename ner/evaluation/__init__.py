"""Weights -> numbers and pictures: prediction, scores, error analysis, reports."""
