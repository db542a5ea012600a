"""Pictures of runs and partitionings."""
