"""Measuring codes and agents: probes, scorecard, comparison, report."""
