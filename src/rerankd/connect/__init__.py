"""How other programs are pointed at this server: what to paste, from where it is seen, and whether it works."""
