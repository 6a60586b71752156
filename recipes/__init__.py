"""The users' models: each folder is one recipe, a model.yaml and the Python that it names."""
