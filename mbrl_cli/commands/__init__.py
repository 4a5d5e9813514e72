"""One module for each subcommand: it parses the words and calls the package that does the work."""
