"""Replays a recipe's rows as requests through a running system, with labels that arrive late, and says what happened."""
