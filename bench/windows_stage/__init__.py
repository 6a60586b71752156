"""What bench.windows is made of: traffic, stores filled with it, and a process that ticks."""
