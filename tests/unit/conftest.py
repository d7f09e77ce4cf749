"""What all unit tests share: no property is judged by the clock, and every failure can be repeated."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

# That a mutant fails is all that is asked of it: the smallest example of how is nobody's concern.
_PHASES = [Phase.explicit, Phase.generate] if "LTK_MUTANT" in os.environ else list(Phase)

settings.register_profile(
    "ltk", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow], phases=_PHASES
)
settings.load_profile("ltk")
