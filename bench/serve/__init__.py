"""Using what a run left: answer with it, verify it, export it, serve it."""
