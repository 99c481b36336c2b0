"""The two HTTP sites: the control socket for clients on this machine, and the public one for probes and Prometheus."""
