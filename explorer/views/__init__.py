"""What pages show, as JSON has it: each view makes one document, and page and JSON are both it."""
