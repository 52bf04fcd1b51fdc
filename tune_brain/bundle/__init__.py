"""A bundle on disk: what stands in it, and how it is read without trusting it."""
