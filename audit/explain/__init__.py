"""Explaining: why a hotkey's window was accepted or refused, and what became of its pay."""
