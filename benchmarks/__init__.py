"""Runnable studies: declare the variants, train the cells, report."""
