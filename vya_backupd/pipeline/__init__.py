"""The pump: dump tool → scanner → compressor threads → ordered file, and back. Threads carry bytes, asyncio waits."""
