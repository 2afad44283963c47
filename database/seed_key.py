"""The key that hidden seeds are made from: one for a workspace, made with it, told to no tool and no candidate."""

from __future__ import annotations

from .connection import Reader


async def seed_key(reader: Reader) -> bytes:
    """32 random bytes."""
    return bytes(await reader.value("SELECT key FROM seed_key"))
