"""Bundled commands: each module's `command` is one that `simulator` has beside its own."""
