"""Samplers beside those of DGL."""
