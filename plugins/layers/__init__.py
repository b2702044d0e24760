"""Bundled layers."""
