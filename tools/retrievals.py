"""Counts which cognition an answer showed, after the answer is made and at no price for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..database import provenance
from ..database.workspace import Workspace
from ..evolution.errors import StorageError
from ..evolution.models import CognitionItem

logger = logging.getLogger(__name__)


async def count_retrievals(workspace: Workspace, campaign_id: int, items: Sequence[CognitionItem]) -> None:
    """One more answer that showed these items. A count that cannot be stored does not fail the answer."""
    if not items:
        return
    try:
        async with workspace.transaction() as tx:
            await provenance.count_retrievals(tx, campaign_id, [item.id for item in items])
    except StorageError as error:
        logger.warning("The retrievals of an answer were not counted: %s", error)
