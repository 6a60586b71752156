"""Answers: one BentoML service that loads versions, swaps them without dropping a request, logs."""
