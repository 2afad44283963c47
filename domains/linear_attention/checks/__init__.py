"""The named checks that a candidate passes before it is trained."""
