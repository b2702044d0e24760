"""Optimizers: how gradients change the params."""
