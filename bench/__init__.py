"""Claims, measured: `python -m bench.NAME [--full]` each."""
