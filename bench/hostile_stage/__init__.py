"""What the bench of hostile callers needs on its stage."""
