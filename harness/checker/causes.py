"""The table of causes that the diagnosis knows. One that is not in it is never named."""

from __future__ import annotations

from harness.checker import causes_asked, causes_computed, causes_served

CAUSES = (*causes_asked.CAUSES, *causes_computed.CAUSES, *causes_served.CAUSES)
