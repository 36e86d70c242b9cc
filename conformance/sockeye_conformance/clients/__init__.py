"""Other people's clients, and the program's own against other people's parts."""
