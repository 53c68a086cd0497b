"""A trained model -> tags for other text."""
