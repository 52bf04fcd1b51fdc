"""Bundles on disk: the schema of bundle.json, and reading a bundle without trusting it."""
