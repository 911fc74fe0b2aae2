"""What a scan shows and where it lies, found by looking at it beside the template."""
