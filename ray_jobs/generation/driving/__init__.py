"""The driver's side: what to do next, decided without Ray, and the loop that does it on Ray."""
