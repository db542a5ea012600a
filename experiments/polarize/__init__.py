"""Polarization: accuracy, what is pruned, and what it is worth."""
