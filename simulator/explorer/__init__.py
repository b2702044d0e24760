"""The explorer: a network as a page in which its matrices can be touched.

With this module one can

- make everything that the page shows (`payload`): patterns as rules, weights, samples;
- write one HTML file that runs without Python and without network (`page`).
"""

from simulator.explorer.page import page
from simulator.explorer.payload import check_page, payload

__all__ = ["check_page", "page", "payload"]
