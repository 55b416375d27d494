"""What `bench matrix` and `bench bisect` found out about versions, in text."""
