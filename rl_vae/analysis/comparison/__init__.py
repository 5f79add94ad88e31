"""Comparison of codes and baselines over seeds, with the return of an agent on each."""
