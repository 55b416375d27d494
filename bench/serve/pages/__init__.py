"""Pages to ask a model in a browser: `chat` for a run on this machine, `app` and its files for a Space."""
