"""The `lambent` command."""
