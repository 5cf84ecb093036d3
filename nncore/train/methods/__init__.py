"""Methods around the loop: what to do with few labels, many views, a teacher, bins, several labels at once."""
