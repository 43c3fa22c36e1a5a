"""Files of rows: `sources` brings them, `file_types` tells what they are, and `record_files` reads their records."""
