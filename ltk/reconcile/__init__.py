"""Desired state to actual state: observe, plan, apply, verify."""
