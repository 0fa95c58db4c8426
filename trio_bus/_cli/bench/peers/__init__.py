"""Other libraries, each measured by a small program of its own.

What is used of a library is written down as a protocol, and fetched by name: most of them are not
installed where types are checked and tests run.
"""
