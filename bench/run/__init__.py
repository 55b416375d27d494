"""One run's life, in order: identity, plan, job, encode, generate, attempt, account."""
