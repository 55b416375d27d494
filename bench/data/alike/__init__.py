"""Texts that are nearly equal, found among many."""
