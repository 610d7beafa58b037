"""Files and objects at paths and URLs, with retries for stores that do not answer."""
