"""One file a way in which a user's images lie, and what these read."""
