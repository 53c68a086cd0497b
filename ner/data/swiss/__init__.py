"""The built-in corpus: patterns to generate training sentences from, hand-tagged validation and test sentences."""
