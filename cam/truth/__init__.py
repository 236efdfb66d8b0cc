"""Scenes with exact masks, and what a map is worth against them."""
