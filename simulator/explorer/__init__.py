"""The explorer: a network as a page in which its matrices can be touched.

With this module one can

- make such a page (`explore`), show it in a notebook, save it as one file, or open it in the browser (`Page`);
- make everything that the page shows (`payload`): patterns as rules, weights, samples;
- write the HTML that runs without Python and without network (`page`).
"""

from simulator.explorer.page import Page, explore, page
from simulator.explorer.payload import check_page, payload

__all__ = ["Page", "check_page", "explore", "page", "payload"]
