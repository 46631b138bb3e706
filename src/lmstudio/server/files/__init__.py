"""Files of clients: kept while the client is connected, read, cut into pieces, searched."""
