"""What kind of change it is, and what is to be done about it."""
