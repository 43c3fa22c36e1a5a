"""YAML as kubectl's parser reads it: other numbers than PyYAML's, no dates, and limits for aliases."""
