"""What stands in single fields of rows: texts, JSON texts, marks, declared tools, calls, and under which names."""
