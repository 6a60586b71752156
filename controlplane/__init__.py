"""Decides and shows: rules, lifecycles, gates, the reconcile loop, the API, the admin UI and the command line."""
