"""Formats of others: import of frames into datasets, and export of datasets."""
