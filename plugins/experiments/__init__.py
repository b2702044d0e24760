"""Bundled experiments, each file one plugin."""
