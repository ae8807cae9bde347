"""What the authors of all networks printed, beside what is counted and measured here: tables and figures."""
