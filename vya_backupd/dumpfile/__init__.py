"""The backup file: segments, labels, codec choice. Sans-IO: bytes in, bytes out; knows no database and no disk."""
