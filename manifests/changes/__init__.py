"""One change of a finished release at a time: lease, journal, what readers see meanwhile."""
