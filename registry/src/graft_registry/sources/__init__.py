"""Where bases, adapters and rows come from: who may read them, and which of their files are downloaded."""
