"""What the MorseSegment module shows in a scene, apart from its widgets."""
