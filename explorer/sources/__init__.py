"""Exploring: what the explorer's pages need of folders, stores, chains and models."""
