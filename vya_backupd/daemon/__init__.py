"""Time and concurrency: the queue of operations, and the life of the process from its lock to its last signal."""
