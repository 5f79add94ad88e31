"""Executors: where independent jobs run, behind the interface of `concurrent.futures`."""
