"""One file per way to isolate an execution environment."""
