"""Embedders: what turns texts into vectors, and how one is chosen."""
