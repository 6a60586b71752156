"""Remembers what was served and measures it: events, spool, shipper, log stores, windows, monitors."""
