"""What is said of a subject after a look at its scan: nothing, a note, or that it is refused."""
