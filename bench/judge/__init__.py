"""Records and arrays in, dataclasses out: boards, comparisons, histories. No file, no text, no model."""
