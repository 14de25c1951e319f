"""What everything stands on: errors, files, words; needs nothing of the rest."""
