"""The bundled plugins: each file is one ordinary plugin that uses only the public API of the simulator."""
