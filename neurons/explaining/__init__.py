"""Explaining: why a hotkey's window was accepted or refused, and what it was paid, in plain words."""
