"""Kibana as code: dashboards, data views and alert rules as definitions, and their import."""
