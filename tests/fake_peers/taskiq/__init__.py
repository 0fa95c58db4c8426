"""taskiq, as much of it as is measured."""
