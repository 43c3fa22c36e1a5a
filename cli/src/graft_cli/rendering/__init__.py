"""What people see in a terminal, and what programs read instead."""
