"""What the crash bench of the log path is played with: processes that die, faults on the way, and a judge."""
