"""Network -> graph -> gradients -> plan -> tape."""
