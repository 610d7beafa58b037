"""The output of runs: rows and their schema, Parquet parts, run.json, MLflow."""
