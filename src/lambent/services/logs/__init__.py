"""CloudWatch Logs: what functions print, kept on disk within bounds, and the API to read and write it."""
