"""Training many cells at once: recipes, pure steps, devices, checkpoints and the one loop."""
