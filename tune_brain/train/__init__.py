"""One trial: a plain loop over arrays that yields one row per epoch."""
