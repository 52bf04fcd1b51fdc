"""Distributed hyperparameter search for brain-tumour MRI classification, with honest scores."""

__version__ = "0.7.0"
