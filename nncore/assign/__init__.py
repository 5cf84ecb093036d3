"""Projects of a course, graded: what is asked for, a skeleton to begin with, a box to run strangers' code in, verdicts."""
