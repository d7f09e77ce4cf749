"""What all unit tests share: no property is judged by the clock, and every failure can be repeated."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("ltk", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ltk")
