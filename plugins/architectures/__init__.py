"""Architectures: functions that build a network out of the catalog's layers."""
