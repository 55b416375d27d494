"""Data sets made from what users have, and what would mislead in them.

What is made here is a file that `bench.data` reads. Its bytes are part of a run's identity, so the code that
made it need not be.
"""
