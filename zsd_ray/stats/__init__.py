"""From numbers to a verdict: pruning rules, intervals, metrics; numpy and scipy only."""
