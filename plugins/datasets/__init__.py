"""Data sets: bundled ones, and readers for the user's own files."""
