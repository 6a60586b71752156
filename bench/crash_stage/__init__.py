"""What the crash bench is played with: replicas that die, a conductor that moves the clock, and a judge in the end."""
