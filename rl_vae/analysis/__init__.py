"""Measuring codes and agents: metrics, probes, scorecard, comparison, report."""
