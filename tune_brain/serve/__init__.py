"""Predictions of a bundle, as a table or over HTTP with a page."""
