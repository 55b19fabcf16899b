"""Rows to data files. ``files.write_files`` is the door; the rows pass these rooms on their way:

``conform`` (with ``casts`` and ``nested``) fits them to the table, ``rules`` computes and checks, ``split`` and
``waiting`` gather them by partition, ``rowgroup`` encodes, ``encode`` runs that on threads, ``datafile`` (with
``footer``) puts row groups together, ``stats`` says what is in them. ``spec`` and ``options`` say how; ``layout`` is
what follows from that.
"""
