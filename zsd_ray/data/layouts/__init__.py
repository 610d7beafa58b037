"""Ways in which the files of data sets lie; one module a way."""
