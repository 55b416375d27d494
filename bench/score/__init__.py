"""Scores of completions: ROUGE, the rows that need no training, and further `evaluate` metrics by name."""
