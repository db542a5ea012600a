"""Worked examples: what one writes to train a model of one's own."""
