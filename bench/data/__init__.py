"""From a source's rows to a split, deduplicated, leak-checked set of examples."""
