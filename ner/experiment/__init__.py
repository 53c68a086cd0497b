"""Options -> a finished run."""
