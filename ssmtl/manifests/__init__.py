"""Manifests: tables of one's own images and partial labels, checked before anything is trained on them."""
