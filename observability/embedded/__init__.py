"""The embedded log store: Parquet segments, a manifest, and DuckDB."""
