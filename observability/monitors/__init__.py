"""What a monitor says of a window, and what it compares it with."""
