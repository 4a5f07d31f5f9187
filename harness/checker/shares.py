"""How alpha is shared by the levels that chance has a part in. L0 is exact, and needs none.

The shares are fixed before anything is asked, and a level that is not asked gives its share to
nobody: the chance of a wrong DIFFERENT is at most alpha over all levels together.
"""

from __future__ import annotations

SHARES = {"L2": 0.4, "L1": 0.2, "L2b": 0.1, "sampler": 0.2, "black box": 0.1}
