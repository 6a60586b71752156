"""Replays a recipe's rows as requests through a running system, with late labels, and says what happened."""
