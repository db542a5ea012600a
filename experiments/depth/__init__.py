"""What a further layer of a deep model costs in memory."""
