"""Plans beside runs."""
