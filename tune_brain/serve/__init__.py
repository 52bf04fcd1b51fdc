"""From bundles to predictions, in a table or on a page."""
