"""Bundled engines."""
