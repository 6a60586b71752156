"""The other ways to serve the same model, and the load that all of them get."""
