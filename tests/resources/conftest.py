"""The same bench that the tools are tested on."""

from ..tools.conftest import bench, campaign

__all__ = ["bench", "campaign"]
