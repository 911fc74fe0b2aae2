"""`--from`: what a training begins with instead of random weights."""
