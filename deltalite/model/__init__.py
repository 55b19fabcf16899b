"""The nouns: frozen values without I/O, clock or randomness. Everything else in the library is a verb on them."""
