"""Elastic Container Registry: the control API, and the registry that tools push to and pull from."""
