"""Tables computed from rows and scores: all numbers of the page come from here."""
