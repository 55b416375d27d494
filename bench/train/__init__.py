"""A checkpoint and encoded examples become a tuned model, with what was spent on it."""
