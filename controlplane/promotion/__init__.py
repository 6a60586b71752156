"""How a version comes into production: the gate, and the next step of a rollout, as pure functions."""
