"""The one typed schema of settings."""
