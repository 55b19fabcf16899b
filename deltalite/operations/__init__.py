"""The operations: a request and a ``plan`` each, and one executor for all of them."""
