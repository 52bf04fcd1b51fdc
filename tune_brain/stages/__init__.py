"""The stages of a run. Each reads the files of earlier stages and writes its own."""
