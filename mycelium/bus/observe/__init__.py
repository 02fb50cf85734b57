"""What can be seen from outside: all of it optional, and imported by nobody who was not asked for it."""
