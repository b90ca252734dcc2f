"""How fast flaxdrop trains, beside what else one could have written, measured in one run."""
