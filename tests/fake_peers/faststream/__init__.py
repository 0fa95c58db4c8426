"""FastStream, as much of it as is measured."""
