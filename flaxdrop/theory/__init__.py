"""What dropout does to moments, in closed form and simulated."""
