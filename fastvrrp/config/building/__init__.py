"""From the tree to the model, one subject a file, every default applied."""
