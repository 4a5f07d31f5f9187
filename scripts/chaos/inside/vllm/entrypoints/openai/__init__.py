"""Stands where vLLM stands, on the PYTHONPATH of an engine that `scripts.chaos` kills."""
