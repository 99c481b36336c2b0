"""Private real servers, and fakes that pass the same suites as what they stand for. See ``servers``."""
