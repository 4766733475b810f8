"""The manual pages, made from what the program itself uses: its commands, its table of keywords."""
