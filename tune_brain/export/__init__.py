"""From a run to bundles: one folder for each winner and one for their ensemble."""
