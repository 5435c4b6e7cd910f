"""What a subnet's owner does: parameters, the first checkpoint, publishing, founding."""
