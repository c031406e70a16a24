"""Readers of original on-disk layouts, and a phantom twin of each domain."""
