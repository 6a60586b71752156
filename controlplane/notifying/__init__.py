"""Alerts on their way to people: a deliverer for each channel, Alertmanager, and signed webhooks."""
