"""``vyactl``: the commands, the HTTP client for the control socket, and how answers look on a terminal."""
