"""What became of the cells: ledger, statistics, tables and where a number comes from."""
