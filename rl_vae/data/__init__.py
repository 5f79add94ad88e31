"""Datasets of frames: collecting, policies, shards, streaming."""
