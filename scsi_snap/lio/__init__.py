"""The kernel's target (LIO): its devices that wait for a handler, and what it exports them by."""
