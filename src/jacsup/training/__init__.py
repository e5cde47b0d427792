"""Training: the curriculum, its steps, and what a bit-exact resume needs."""
