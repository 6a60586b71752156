"""Makes a version: ingest, layers, features, train, evaluate, export, package."""
