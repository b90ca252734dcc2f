"""What became of the cells: ledger, statistics, tables, plots and where a number comes from."""
