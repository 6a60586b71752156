"""What a process says of itself: its log as JSON lines that carry the request's id, and Prometheus metrics."""
