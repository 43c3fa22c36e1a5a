"""Where bases and rows come from: who may read them, which files of them are brought, and how they land whole."""
