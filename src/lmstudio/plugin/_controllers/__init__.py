"""What hooks of plugins get: controllers of their work, and of the blocks that they show in the chat."""
