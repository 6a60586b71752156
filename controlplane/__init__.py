"""Decides and shows: rules, lifecycles, gates, the reconcile loop, API, admin UI and command line."""
