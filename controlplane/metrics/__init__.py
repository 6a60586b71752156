"""What the control plane and the monitor tell of themselves to Prometheus.

Counters are of the one process: what it committed, ticked and answered since it started. Gauges are read from the
database at a scrape: every replica tells the same, so take the maximum of them and never the sum.
"""
