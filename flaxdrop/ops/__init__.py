"""What networks compute with: operations that have gradients of their own."""
