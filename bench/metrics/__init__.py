"""Further metrics of stored answers, an example at a time: nothing is generated, and no record is changed."""
