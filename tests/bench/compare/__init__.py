"""The parts of ../compare.py: the same translation step in other engines, timed beside
leapstream's."""
