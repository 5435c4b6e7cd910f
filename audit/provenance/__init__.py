"""Tracing: what a training step learned from, held against what stood on chain and in stores."""
