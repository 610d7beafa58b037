"""What is settled before a process or a GPU starts."""
