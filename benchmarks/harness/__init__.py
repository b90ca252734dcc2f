"""What every study runs on: its declaration, its settings, the plan of a run, the command line."""
