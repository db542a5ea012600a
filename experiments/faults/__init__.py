"""What becomes of runs and files when something goes wrong at the worst moment."""
