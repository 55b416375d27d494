"""Answering with training rows in the context: an index of them, its search, and the prompts."""
