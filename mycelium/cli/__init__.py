"""The command `mycelium`: one file a command, imported only when it is the one that is called."""
