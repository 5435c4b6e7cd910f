"""Checkpoints: model folders by digest, published, fetched, opened."""
