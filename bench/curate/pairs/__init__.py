"""Passages are cut into chunks, and question-answer pairs are made of them."""
