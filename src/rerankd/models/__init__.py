"""What is loaded in this process."""
