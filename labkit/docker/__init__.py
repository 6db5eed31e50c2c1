"""Docker's own words: the options of docker run, read as docker reads them."""
