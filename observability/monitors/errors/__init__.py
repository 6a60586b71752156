"""How wrong the answers are: with labels, with late labels, and without."""
