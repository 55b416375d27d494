"""What a data set is like, and what would mislead in a benchmark on it."""
