"""What a model writes: in batches that shrink, by several processes, once for all seeds of the untuned."""
