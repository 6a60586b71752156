"""Answers: a BentoML service that loads versions, swaps them without dropping a request and logs."""
