"""Winners, their seed runs, and the sealed test, opened once."""
