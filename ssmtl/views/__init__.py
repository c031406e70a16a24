"""Weak and strong views of images, and how targets move with them."""
