"""Runs behind HTTP: the plain question and answer, and what OpenAI's clients speak."""
