"""Images that bring captions of their own to choose among."""
