"""What moves the priority of a virtual router, or lets it fail."""
