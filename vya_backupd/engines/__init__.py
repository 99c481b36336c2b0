"""Translators for the three kinds of server: facts in, command lines and SQL out. No I/O in here."""
