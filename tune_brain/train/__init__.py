"""One trial: a plain training loop over arrays that yields one row per epoch."""
