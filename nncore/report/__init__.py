"""Pictures and pages from the plain data that runs, labs, benches and gradings wrote."""
