"""Layouts of the files of data sets, one per module."""
