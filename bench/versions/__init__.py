"""Other sets of package versions: resolved, built, and asked for a run."""
