"""Distributed hyperparameter search for brain-tumour MRI classification, with honest scores."""

__version__ = "0.8.1"
