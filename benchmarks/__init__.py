"""The program's own speed, each benchmark a ratio whose two sides are timed in one run."""
