"""When a model is retrained: pure functions of what is known, each with its reason. `decide` is the way in."""
