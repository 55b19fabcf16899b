"""Helpers for tests of deltalite and of what is built on it."""
