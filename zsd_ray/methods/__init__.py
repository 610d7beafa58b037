"""The classification methods of the papers, one file each."""
