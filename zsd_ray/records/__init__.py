"""Values that travel between the rooms, the errors that users see, and what is hidden from them."""
