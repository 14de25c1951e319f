"""What networks and programs cost: parameters, operations, memory."""
