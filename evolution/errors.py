"""Every anticipated failure, in one tree. Messages say what was expected, what came, and what to do.

EvolveError
  + BadInput                 the caller's arguments are wrong; nothing was stored
      x NotFound             an id, domain, stage or path that does not exist
      x EditError            a SEARCH/REPLACE edit that does not apply to its parent
      x DuplicateCandidate   the campaign already holds this program
  + BudgetReached            a bound of the campaign is reached; raise it to go on
  + DomainError              a domain folder that breaks the contract (names file and key)
  + SamplerError             an installed sampler that fails or breaks its protocol (names it)
  + StorageError             the workspace cannot be read or written
      x NewerDatabase        written by a later version of this program
      x DatabaseBusy         other processes held the write lock too long
  + EndpointError            an address outside (judge, arXiv) cannot be reached or does not answer as it should
  + SandboxUnavailable       no isolation can be had on this machine (names the remedy)
  + EmbedderUnavailable      no embedder can be had: weights or endpoint are missing or wrong

`tools` turns each of them into an MCP `ToolError`; anything else is a bug and is logged with its traceback.
"""

from __future__ import annotations


class EvolveError(Exception):
    """Base of every failure this package anticipates."""


class BadInput(EvolveError):
    """The caller's arguments are wrong; nothing was stored."""


class NotFound(BadInput):
    """An id, domain, stage or path that does not exist."""


class EditError(BadInput):
    """A SEARCH/REPLACE edit that does not apply to its parent."""


class DuplicateCandidate(BadInput):
    """The campaign already holds this program.

    `node` is the number of the node that holds it.
    """

    def __init__(self, message: str, *, node: int) -> None:
        super().__init__(message)
        self.node = node


class BudgetReached(EvolveError):
    """A bound of the campaign is reached."""


class DomainError(EvolveError):
    """A domain folder that breaks the contract."""


class SamplerError(EvolveError):
    """An installed sampler that fails or breaks its protocol."""


class StorageError(EvolveError):
    """The workspace cannot be read or written."""


class NewerDatabase(StorageError):
    """The database was written by a later version of this program."""


class DatabaseBusy(StorageError):
    """Other processes held the write lock longer than we were willing to wait."""


class EndpointError(EvolveError):
    """An address outside cannot be reached or does not answer as it should; nothing was stored."""


class SandboxUnavailable(EvolveError):
    """No isolation can be had on this machine; the message names the remedy."""


class EmbedderUnavailable(EvolveError):
    """No embedder can be had: weights or endpoint are missing or wrong."""
