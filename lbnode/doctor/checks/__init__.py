"""Pure functions: facts in, examinations out. One module a place where things go wrong."""
