"""Planning: everything that is checked and decided before a process or a GPU starts."""
