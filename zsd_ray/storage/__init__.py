"""Files and objects at paths and URLs, and patience with the stores that hold them."""
