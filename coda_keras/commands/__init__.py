"""The command `coda-keras`: a table of commands, each a function that is imported when asked."""
