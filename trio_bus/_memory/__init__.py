"""The streams that live in this process: their semantics in pure code, and a backend on top."""

from .backend import MemoryBackend as MemoryBackend
