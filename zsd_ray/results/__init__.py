"""Reads and writes rows: the schema, Parquet parts, run.json, MLflow."""
