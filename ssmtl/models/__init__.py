"""Encoders, heads and what joins them into one multi-task model."""
