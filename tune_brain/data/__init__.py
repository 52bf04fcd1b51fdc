"""From a folder of images to the arrays of a search, and a test part that stays sealed."""
