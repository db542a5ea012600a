"""What storing rows in 16 bits costs in accuracy and saves in time."""
