"""Rows and scores as tables: the numbers of the page are computed here."""
