"""The page and the HTTP interface: a thin skin over the library, for one machine's own people.

`serve` binds, opens the browser and paints. Nothing here reads a path or an address that a request names.
"""

from styletx.web.serving import TOKEN_BYTES, Address, serve

__all__ = ["TOKEN_BYTES", "Address", "serve"]
