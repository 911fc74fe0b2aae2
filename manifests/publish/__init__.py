"""Publishing a release and withdrawing from it: a journaled change of what strangers see."""
