"""Export of a run as bundles: one folder for each winner and one for their ensemble."""
