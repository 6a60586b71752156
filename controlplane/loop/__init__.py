"""The loop: one tick reads where things stand and takes a step with each; one pass of the monitor measures."""
