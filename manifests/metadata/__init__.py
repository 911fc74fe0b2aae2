"""What a release tells of itself: BIDS files, README, Croissant, participants."""
