"""Statistics: intervals, tests and metrics; numpy and scipy only."""
