"""What the bench of the log path needs beside the real parts: serving without an event log, a shipper to watch."""
