"""Comparison of codes and baselines by score and by the return of agents, over seeds."""
