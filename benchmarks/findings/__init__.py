"""What a study tells beside its table: computed from the rows and the trained networks."""
